//! Golden text of every device, and the awkward targets.

use super::target::{GatewayUrl, Target};
use super::*;
use crate::model::{Families, Hostname};

fn target(url: &str, families: Families) -> Target {
    Target {
        host: Hostname::parse("home.dyn.example").unwrap(),
        login: "router1".to_owned(),
        url: GatewayUrl::parse(url).unwrap(),
        families,
    }
}

fn text(device: &str, target: &Target) -> String {
    DEVICES.iter().find(|known| known.name == device).unwrap().text(target)
}

fn golden(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn each_device_over_http() {
    for device in &DEVICES {
        golden(device.name, &device.text(&target("http://ddns.example.net:8245", Families::Both)));
    }
}

#[test]
fn each_device_over_https_with_one_family() {
    let mut text = String::new();
    for device in &DEVICES {
        for family in [Families::V4, Families::V6] {
            text.push_str(&device.text(&target("https://ddns.example.net", family)));
            text.push('\n');
        }
    }
    golden("https_and_one_family", &text);
}

#[test]
fn a_guess_and_a_placeholder_are_told() {
    let notes = |listen: &str| {
        let url = GatewayUrl::guess(&[listen.parse().unwrap()]);
        notes(
            "curl",
            Evidence::Run,
            Credential::Password,
            &Target { url, ..target("https://ddns.example.net", Families::Both) },
        )
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
    let with = |device: &str, login: &str| {
        text(device, &Target { login: login.to_owned(), ..target("https://x", Families::Both) })
    };
    let login = r#"o'neil "$HOME" \x"#;
    for (device, written) in [
        ("ddclient", r#"login='o\'neil "$HOME" \\x'"#),
        ("inadyn", r#"username       = 'o\'neil "$HOME" \\x'"#),
        ("openwrt", r#"option username 'o'\''neil "$HOME" \x'"#),
        ("mikrotik", r#"user="o'neil \"\$HOME\" \\x" password="#),
        ("curl", r#"-u 'o'\''neil "$HOME" \x:PASSWORD' "#),
        ("fritzbox", login),
        ("opnsense", "give the account another login"),
        ("pfsense", login),
        ("unifi", login),
        ("synology", login),
    ] {
        assert!(with(device, login).contains(written), "{}", with(device, login));
    }
    assert!(with("ddclient", "a#b").contains("it reads # as a comment"));
}

#[test]
fn an_address_as_server_is_reached_by_its_own_family() {
    let curl = text("curl", &target("http://192.0.2.1:8245", Families::Both));
    assert!(curl.contains("curl -4") && !curl.contains("curl -6") && curl.contains("of one family"), "{curl}");
    let ddclient = text("ddclient", &target("http://[2001:db8::1]:8245", Families::Both));
    assert!(ddclient.contains("takes no IPv6 address as server"), "{ddclient}");
}
