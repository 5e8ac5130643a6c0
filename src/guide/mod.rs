//! What to type into each device so that it keeps one host up to date: a device is one file and one row of the table. Knows
//! neither arguments nor the store.
//!
//! What is quoted of forms, placeholders and habits is what docs/CLIENTS.md says of each.

mod curl;
mod ddclient;
mod fritzbox;
mod inadyn;
mod lookup;
mod mikrotik;
mod openwrt;
mod opnsense;
mod pfsense;
mod synology;
mod target;
mod unifi;
mod url;

use std::fmt::Write as _;

use crate::model::Family;

pub(crate) use lookup::{LookupError, name, updater};
pub(crate) use target::{GatewayUrl, Target, UrlOrigin};

/// A device or a program that speaks dyndns2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    /// What the text for it is. No quotation marks: clap_complete's script for fish breaks.
    pub(crate) about: &'static str,
    pub(crate) credential: Credential,
    // As its makers spell it.
    title: &'static str,
    evidence: Evidence,
    render: fn(&Target) -> String,
}

/// All of them, in the order of the help.
pub(crate) static DEVICES: [Device; 11] = [
    row("ddclient", "ddclient", "/etc/ddclient.conf", Evidence::Run, ddclient::render),
    row("inadyn", "inadyn", "/etc/inadyn.conf", Evidence::Run, inadyn::render),
    row("openwrt", "OpenWrt", "/etc/config/ddns", Evidence::Read, openwrt::render),
    row("fritzbox", "FRITZ!Box", "Form DynDNS of a FRITZ!Box", Evidence::Read, fritzbox::render),
    row("opnsense", "OPNsense", "Form of the plug-in os-ddclient", Evidence::Read, opnsense::render),
    row("pfsense", "pfSense", "Form Dynamic DNS Clients", Evidence::Read, pfsense::render),
    row("unifi", "UniFi", "Form Dynamic DNS of UniFi gateways", Evidence::Read, unifi::render),
    row("synology", "Synology DSM", "Forms of DSM", Evidence::Read, synology::render),
    row("mikrotik", "MikroTik RouterOS", "Script for RouterOS", Evidence::Read, mikrotik::render),
    row("curl", "curl", "Command lines", Evidence::Run, curl::render),
    Device {
        credential: Credential::Token,
        ..row(
            "url",
            "URL",
            "URL of a host of the store, for a device that takes nothing else",
            Evidence::Run,
            url::render,
        )
    },
];

/// By what a device is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    Password,
    Token,
}

/// What a text rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The tests feed it to the program itself.
    Run,
    /// The device's source, its documentation or reports of its users.
    Read,
}

const fn row(
    name: &'static str,
    title: &'static str,
    about: &'static str,
    evidence: Evidence,
    render: fn(&Target) -> String,
) -> Device {
    Device { name, about, credential: Credential::Password, title, evidence, render }
}

impl Device {
    /// What to paste on it, or to enter at it; ends with a line end.
    pub(crate) fn text(&self, target: &Target) -> String {
        format!("{}{}", notes(self.title, self.evidence, self.credential, target), (self.render)(target))
    }
}

/// What holds for every device, as comments: what the reader must fill in, and what is guessed.
fn notes(name: &str, evidence: Evidence, credential: Credential, target: &Target) -> String {
    let Target { host, login, url, .. } = target;
    let tried = match evidence {
        Evidence::Run => "",
        Evidence::Read => {
            "# From the device's documentation, source or users: it was not tried on the device itself.\n"
        }
    };
    let (word, replace) = match credential {
        Credential::Password => (
            "password",
            "# Replace PASSWORD with the account's password: dyngate has only a digest of it and cannot print it.\n"
                .to_owned(),
        ),
        Credential::Token => (
            "URL",
            format!(
                "# Replace TOKEN with what `dyngate host token {host}` prints behind /update/: dyngate has only a digest of an\n\
                 # older one. That command ends the host's older URLs; with --keep-old 1h they serve for another hour.\n"
            ),
        ),
    };
    let mut notes = format!("# {name}: keeps {host} up to date, as account {login}.\n{tried}{replace}");
    let _ = match url.origin {
        UrlOrigin::Given => Ok(()),
        UrlOrigin::Listen => writeln!(
            notes,
            "# {url} is where the gateway listens. Where devices reach it by another name: --url https://NAME"
        ),
        UrlOrigin::Placeholder => writeln!(
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
