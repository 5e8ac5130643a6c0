//! Golden text of every device, and the awkward targets.

use super::super::target::{GatewayUrl, Target};
use super::*;
use crate::model::Hostname;

fn target(url: &str, families: &[Family]) -> Target {
    Target {
        host: Hostname::parse("home.dyn.example").unwrap(),
        login: "router1".to_owned(),
        url: GatewayUrl::parse(url).unwrap(),
        families: families.to_vec(),
    }
}

const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn golden(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn each_device_over_http() {
    for device in Device::value_variants() {
        let text = render(*device, &target("http://ddns.example.net:8245", &BOTH));
        golden(&format!("{device:?}").to_lowercase(), &text);
    }
}

#[test]
fn each_device_over_https_with_one_family() {
    let mut text = String::new();
    for device in Device::value_variants() {
        for family in BOTH {
            text.push_str(&render(*device, &target("https://ddns.example.net", &[family])));
            text.push('\n');
        }
    }
    golden("https_and_one_family", &text);
}

#[test]
fn a_guess_and_a_placeholder_are_told() {
    let notes = |listen: &str| {
        let url = GatewayUrl::guess(&[listen.parse().unwrap()]);
        notes("curl", Evidence::Run, Secret::Password, &Target { url, ..target("https://ddns.example.net", &BOTH) })
    };
    insta::assert_snapshot!(notes("203.0.113.1:8245") + &notes("0.0.0.0:8245"), @"
    # curl: keeps home.dyn.example up to date, as account router1.
    # Replace PASSWORD with the account's password: dyngate has only a digest of it and cannot print it.
    # http://203.0.113.1:8245 is where the gateway listens. Where devices reach it by another name: --url https://NAME
    # Plain HTTP: whoever is on the way can read the password. Use https where both sides speak it.
    # curl: keeps home.dyn.example up to date, as account router1.
    # Replace PASSWORD with the account's password: dyngate has only a digest of it and cannot print it.
    # Replace ddns.example.net with the gateway's public name: the configuration does not tell it. Or: --url https://NAME
    ");
}

#[test]
fn an_awkward_login_stays_one_value() {
    let with = |device, login: &str| render(device, &Target { login: login.to_owned(), ..target("https://x", &BOTH) });
    let login = r#"o'neil "$HOME" \x"#;
    for (device, written) in [
        (Device::Ddclient, r#"login='o\'neil "$HOME" \\x'"#),
        (Device::Inadyn, r#"username       = 'o\'neil "$HOME" \\x'"#),
        (Device::Openwrt, r#"option username 'o'\''neil "$HOME" \x'"#),
        (Device::Mikrotik, r#"user="o'neil \"\$HOME\" \\x" password="#),
        (Device::Curl, r#"-u 'o'\''neil "$HOME" \x:PASSWORD' "#),
        (Device::Fritzbox, login),
        (Device::Opnsense, "give the account another login"),
        (Device::Pfsense, login),
        (Device::Unifi, login),
        (Device::Synology, login),
    ] {
        assert!(with(device, login).contains(written), "{}", with(device, login));
    }
    assert!(with(Device::Ddclient, "a#b").contains("it reads # as a comment"));
}

#[test]
fn an_address_as_server_is_reached_by_its_own_family() {
    let curl = render(Device::Curl, &target("http://192.0.2.1:8245", &BOTH));
    assert!(curl.contains("curl -4") && !curl.contains("curl -6") && curl.contains("of one family"), "{curl}");
    let ddclient = render(Device::Ddclient, &target("http://[2001:db8::1]:8245", &BOTH));
    assert!(ddclient.contains("takes no IPv6 address as server"), "{ddclient}");
}
