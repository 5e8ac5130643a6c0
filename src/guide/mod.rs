//! What to type into each device so that it keeps one host up to date: a device is one file and one row of the table. Knows
//! neither arguments nor the store.
//!
//! What is quoted of forms, placeholders and habits is what docs/CLIENTS.md says of each.

mod acme;
mod asuswrt;
mod cisco;
mod comware;
mod curl;
mod ddclient;
mod ddclient4;
mod ddns;
mod ddns_go;
mod ddns_updater;
mod ddwrt;
mod dyndnsc;
mod fritzbox;
mod home_assistant;
mod inadyn;
mod lookup;
mod mikrotik;
mod openwrt;
mod opnsense;
mod pfsense;
mod qnap;
mod quoted;
mod synology;
mod target;
mod unifi;
mod url;
mod vyos;
mod wget;

use std::fmt::Write as _;

use crate::model::Family;

pub(crate) use lookup::{LookupError, name, updater};
pub(crate) use target::{GatewayUrl, OneFamilyNames, Target, UrlOrigin};

/// A device or a program that speaks one of the dialects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    /// What else it is called.
    pub(crate) aliases: &'static [&'static str],
    /// What the text for it is. No quotation marks: clap_complete's script for fish breaks.
    pub(crate) about: &'static str,
    pub(crate) credential: Credential,
    // As its makers spell it.
    title: &'static str,
    purpose: Purpose,
    evidence: Evidence,
    render: fn(&Target) -> String,
}

/// All of them, in the order of the help.
pub(crate) static DEVICES: [Device; 31] = [
    row("ddclient", "ddclient", "/etc/ddclient.conf of ddclient 3.10", Evidence::Run, ddclient::render),
    row("ddclient-4", "ddclient 4", "/etc/ddclient.conf of ddclient 4", Evidence::Read, ddclient4::render)
        .called(&["ddclient4"]),
    row("inadyn", "inadyn", "/etc/inadyn.conf", Evidence::Run, inadyn::render),
    row("openwrt", "OpenWrt", "Service and sections of /etc/config/ddns", Evidence::Read, openwrt::render),
    row("fritzbox", "FRITZ!Box", "Form DynDNS of a FRITZ!Box", Evidence::Read, fritzbox::render),
    row("opnsense", "OPNsense", "Form of the plug-in os-ddclient", Evidence::Read, opnsense::render),
    row("pfsense", "pfSense", "Form Dynamic DNS Clients", Evidence::Read, pfsense::render),
    row("unifi", "UniFi", "Form Dynamic DNS of UniFi gateways", Evidence::Read, unifi::render),
    row("synology", "Synology DSM", "Forms of DSM", Evidence::Read, synology::render),
    row("qnap", "QNAP QTS", "Form DDNS of QTS", Evidence::Read, qnap::render),
    row("asuswrt", "Asuswrt-Merlin", "Script ddns-start", Evidence::Read, asuswrt::render).called(&[
        "asuswrt-merlin",
        "asus-merlin",
        "merlin",
        "asus",
    ]),
    row("dd-wrt", "DD-WRT", "Form DDNS", Evidence::Read, ddwrt::render).called(&["ddwrt"]),
    row("edgeos", "EdgeOS", "Commands of EdgeRouters", Evidence::Read, vyos::edgeos).called(&["edgerouter"]),
    row("vyos", "VyOS", "Commands of VyOS 1.4 and later", Evidence::Read, vyos::vyos),
    row("mikrotik", "MikroTik RouterOS", "Script for RouterOS", Evidence::Read, mikrotik::render),
    row("cisco", "Cisco IOS", "Commands of IOS and IOS XE", Evidence::Read, cisco::render),
    row("hpe", "HPE and H3C Comware", "Commands of Comware", Evidence::Read, comware::hpe).called(&["h3c", "comware"]),
    row("huawei", "Huawei", "Commands of AR and USG routers", Evidence::Read, comware::huawei),
    Device {
        credential: Credential::Token,
        ..row("home-assistant", "Home Assistant", "Integration freedns", Evidence::Read, home_assistant::render)
    }
    .called(&["homeassistant"]),
    row("ddns-go", "ddns-go", "Form of ddns-go", Evidence::Read, ddns_go::render),
    row("ddns", "ddns of PyPI", "Command line of ddns", Evidence::Run, ddns::render),
    row("ddns-updater", "ddns-updater", "config.json of qdm12/ddns-updater", Evidence::Read, ddns_updater::render)
        .called(&["qdm12"]),
    row("dyndnsc", "dyndnsc", "~/.dyndnsc.ini", Evidence::Run, dyndnsc::render),
    row("curl", "curl", "Command lines", Evidence::Run, curl::render),
    row("wget", "GNU Wget", "Command lines", Evidence::Run, wget::render),
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
    certificates("lego", "lego", "Command line, with httpreq", Evidence::Run, acme::lego),
    certificates("acme.sh", "acme.sh", "Command line, with dns_acmeproxy", Evidence::Read, acme::acme_sh)
        .called(&["acme-sh"]),
    certificates(
        "certbot",
        "certbot",
        "Files and command line, with certbot-dns-acmedns",
        Evidence::Run,
        acme::certbot,
    ),
    certificates("caddy", "Caddy", "Caddyfile, with acmedns", Evidence::Read, acme::caddy),
    certificates(
        "traefik",
        "Traefik",
        "Static configuration and environment, with httpreq",
        Evidence::Read,
        acme::traefik,
    ),
];

/// By what a device is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    Password,
    Token,
}

/// What a device is told for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It reports addresses.
    Addresses,
    /// It proves the host's name to a certificate authority.
    Certificates,
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
    let (credential, purpose) = (Credential::Password, Purpose::Addresses);
    Device { name, aliases: &[], about, credential, title, purpose, evidence, render }
}

const fn certificates(
    name: &'static str,
    title: &'static str,
    about: &'static str,
    evidence: Evidence,
    render: fn(&Target) -> String,
) -> Device {
    Device { purpose: Purpose::Certificates, ..row(name, title, about, evidence, render) }
}

impl Device {
    const fn called(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// What to paste on it, or to enter at it; ends with a line end.
    pub(crate) fn text(&self, target: &Target) -> String {
        format!("{}{}", notes(self, target), (self.render)(target))
    }
}

/// What holds for every device, as comments: what the reader must fill in, and what is guessed.
fn notes(device: &Device, target: &Target) -> String {
    let Device { title, purpose, evidence, credential, .. } = *device;
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
    let does = match purpose {
        Purpose::Addresses => format!("keeps {host} up to date, as account {login}."),
        Purpose::Certificates => {
            format!("a certificate for {host} by DNS-01, as account {login}; needs [acme] dns01 = true.")
        }
    };
    let mut notes = format!("# {title}: {does}\n{tried}{replace}");
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

/// A comment where the device puts the password into the URL.
const IN_URL: &str =
    "# The password is in the URL: proxies may log it, and only letters, digits, - and _ are safe there.\n";

/// A comment where a device asks the gateway for its own address, or states none, and the gateway's name may have addresses of
/// both families.
fn one_family_hint(target: &Target) -> String {
    if !target.has(Family::V4) || target.is_seen_by(Family::V4) || target.url.family().is_some() {
        return String::new();
    }
    format!(
        "# If {} has IPv6 addresses too, the gateway sees this come by IPv6 alone, and the host gets no IPv4\n\
         # address: give the gateway another name, with IPv4 addresses alone, as ipv4_name of [http] in gateway.toml, and print\n\
         # this again.\n",
        target.url.authority()
    )
}

/// A comment where one of the families cannot come through.
fn unreached(target: &Target) -> &'static str {
    if target.families.iter().all(|family| target.reaches(family)) {
        return "";
    }
    "# The gateway's address is of one family, so the caller's other address is not seen: name it with &myip=ADDRESS,\n\
     # or give the gateway a name that has addresses of both.\n"
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
