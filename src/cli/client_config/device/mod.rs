//! The text for each device: pure, from a [`Target`] alone; one file a device. Knows no configuration and no store.
//!
//! What is quoted of forms, placeholders and habits is what docs/CLIENTS.md says of each.

mod curl;
mod ddclient;
mod fritzbox;
mod inadyn;
mod mikrotik;
mod openwrt;
mod opnsense;
mod pfsense;
mod synology;
mod unifi;
mod url;

use std::fmt::Write as _;

use clap::ValueEnum;

use super::target::{Origin, Target};
use crate::model::Family;

/// A device or a program that speaks dyndns2. No quotation marks in what follows: clap_complete's script for fish breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// /etc/ddclient.conf
    Ddclient,
    /// /etc/inadyn.conf
    Inadyn,
    /// /etc/config/ddns
    Openwrt,
    /// Form DynDNS of a FRITZ!Box
    Fritzbox,
    /// Form of the plug-in os-ddclient
    Opnsense,
    /// Form Dynamic DNS Clients
    Pfsense,
    /// Form Dynamic DNS of UniFi gateways
    Unifi,
    /// Forms of DSM
    Synology,
    /// Script for RouterOS
    Mikrotik,
    /// Command lines
    Curl,
    /// URL of a host of the store, for a device that takes nothing else
    Url,
}

impl Device {
    /// What the reader puts in place of a placeholder.
    pub(crate) fn secret(self) -> Secret {
        match self {
            Self::Url => Secret::Token,
            Self::Ddclient
            | Self::Inadyn
            | Self::Openwrt
            | Self::Fritzbox
            | Self::Opnsense
            | Self::Pfsense
            | Self::Unifi
            | Self::Synology
            | Self::Mikrotik
            | Self::Curl => Secret::Password,
        }
    }
}

/// By what a device is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The account's.
    Password,
    /// The host's own.
    Token,
}

/// What to paste on, or enter at, `device`; ends with a line end.
pub(crate) fn render(device: Device, target: &Target) -> String {
    let (name, evidence, text) = match device {
        Device::Ddclient => ("ddclient", Evidence::Run, ddclient::render(target)),
        Device::Inadyn => ("inadyn", Evidence::Run, inadyn::render(target)),
        Device::Openwrt => ("OpenWrt", Evidence::Read, openwrt::render(target)),
        Device::Fritzbox => ("FRITZ!Box", Evidence::Read, fritzbox::render(target)),
        Device::Opnsense => ("OPNsense", Evidence::Read, opnsense::render(target)),
        Device::Pfsense => ("pfSense", Evidence::Read, pfsense::render(target)),
        Device::Unifi => ("UniFi", Evidence::Read, unifi::render(target)),
        Device::Synology => ("Synology DSM", Evidence::Read, synology::render(target)),
        Device::Mikrotik => ("MikroTik RouterOS", Evidence::Read, mikrotik::render(target)),
        Device::Curl => ("curl", Evidence::Run, curl::render(target)),
        Device::Url => ("URL", Evidence::Run, url::render(target)),
    };
    format!("{}{text}", notes(name, evidence, device.secret(), target))
}

/// What a text rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The tests feed it to the program itself.
    Run,
    /// The device's source, its documentation or reports of its users.
    Read,
}

/// What holds for every device, as comments: what the reader must fill in, and what is guessed.
fn notes(name: &str, evidence: Evidence, secret: Secret, target: &Target) -> String {
    let Target { host, login, url, .. } = target;
    let tried = match evidence {
        Evidence::Run => "",
        Evidence::Read => {
            "# From the device's documentation, source or users: it was not tried on the device itself.\n"
        }
    };
    let (word, replace) = match secret {
        Secret::Password => (
            "password",
            "# Replace PASSWORD with the account's password: dyngate has only a digest of it and cannot print it.\n"
                .to_owned(),
        ),
        Secret::Token => (
            "URL",
            format!(
                "# Replace TOKEN with what `dyngate host token {host}` prints behind /update/: dyngate has only a digest of an\n\
                 # older one. That command ends the host's older URLs; with --keep-old 1h they serve for another hour.\n"
            ),
        ),
    };
    let mut notes = format!("# {name}: keeps {host} up to date, as account {login}.\n{tried}{replace}");
    let _ = match url.origin {
        Origin::Given => Ok(()),
        Origin::Listen => writeln!(
            notes,
            "# {url} is where the gateway listens. Where devices reach it by another name: --url https://NAME"
        ),
        Origin::Placeholder => writeln!(
            notes,
            "# Replace {} with the gateway's public name: the configuration does not tell it. Or: --url https://NAME",
            url.authority()
        ),
    };
    if !url.tls {
        let _ = writeln!(
            notes,
            "# Plain HTTP: whoever is on the way can read the {word}. Use https where both sides speak it."
        );
    }
    notes
}

/// The fields of a form, one a line, their values in one column.
fn form(fields: &[(&str, &str)]) -> String {
    let width = fields.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (label, value) in fields {
        let _ = writeln!(text, "{label:width$}  {value}");
    }
    text
}

/// `&myip=` with the device's placeholder: `http://…/nic/update?hostname=HOST&myip=ADDRESS`.
fn update_url(target: &Target, host: &str, address: &str) -> String {
    format!("{}/nic/update?hostname={host}&myip={address}", target.url)
}

/// A comment where the device reports IPv4 alone and the host is to have more.
fn only_ipv4(target: &Target) -> &'static str {
    match (target.has(Family::V4), target.has(Family::V6)) {
        (_, false) => "",
        (true, true) => "# IPv4 alone: what is written here reports no IPv6 address.\n",
        (false, true) => "# This reports IPv4 alone, and no IPv6 address: take another device for this host.\n",
    }
}

#[cfg(test)]
mod tests;
