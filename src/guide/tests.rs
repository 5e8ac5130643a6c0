//! Golden text of every device, and the awkward targets.

use super::target::{GatewayUrl, OneFamilyNames, Target};
use super::*;
use crate::model::{Families, Hostname};

fn target(url: &str, families: Families) -> Target {
    Target {
        host: Hostname::parse("home.dyn.example").unwrap(),
        login: "router1".to_owned(),
        url: GatewayUrl::parse(url).unwrap(),
        families,
        names: OneFamilyNames::default(),
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
        let curl = DEVICES.iter().find(|device| device.name == "curl").unwrap();
        notes(curl, &Target { url, ..target("https://ddns.example.net", Families::Both) })
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

#[test]
fn names_of_one_family_stand_where_the_device_is_seen() {
    let parse = |name: &str| Some(Hostname::parse(name).unwrap());
    let names = OneFamilyNames { v4: parse("ipv4.gw.example"), v6: parse("ipv6.gw.example") };
    let without = target("https://gw.example:8443", Families::Both);
    let with = Target { names, ..without.clone() };
    for (device, of_v4, of_v6) in [
        ("inadyn", "checkip-server = \"ipv4.gw.example:8443\"", Some("checkip-server = \"ipv6.gw.example:8443\"")),
        ("ddclient", "web=https://ipv4.gw.example:8443/checkip", None),
        (
            "ddclient-4",
            "usev4=webv4, webv4=https://ipv4.gw.example:8443/checkip",
            Some("usev6=webv6, webv6=https://ipv6.gw.example:8443/checkip"),
        ),
        (
            "openwrt",
            "ip_url 'https://ipv4.gw.example:8443/checkip'",
            Some("ip_url 'https://ipv6.gw.example:8443/checkip'"),
        ),
        (
            "dyndnsc",
            "detector-url = https://ipv4.gw.example:8443/myip",
            Some("detector-url = https://ipv6.gw.example:8443/myip"),
        ),
        ("home-assistant", "url: \"https://ipv4.gw.example:8443/u/TOKEN/\"", None),
        ("ddns", "--index4 'url:https://ipv4.gw.example:8443/myip'", None),
        ("dd-wrt", "ipv4.gw.example:8443", None),
        ("url", "https://ipv4.gw.example:8443/update/TOKEN", Some("https://ipv6.gw.example:8443/update/TOKEN")),
        ("curl", "curl -4 -sS -w '\\n' -u 'router1:PASSWORD' 'https://ipv4.gw.example:8443/", Some("'https://ipv6.gw")),
        ("wget", "https://ipv4.gw.example:8443/nic", Some("https://ipv6.gw.example:8443/nic")),
    ] {
        let text = text(device, &with);
        assert!(text.contains(of_v4) && of_v6.is_none_or(|of_v6| text.contains(of_v6)), "{text}");
        assert!(!text.contains("ipv4_name"), "there is one: {text}");
    }
    for device in ["inadyn", "dyndnsc", "home-assistant", "dd-wrt", "url", "ddns"] {
        let hint = "If gw.example:8443 has IPv6 addresses too";
        assert!(
            text(device, &without).contains(hint) && text(device, &without).contains("ipv4_name of [http]"),
            "{device}"
        );
        let literal = Target { url: GatewayUrl::parse("http://192.0.2.1").unwrap(), ..without.clone() };
        assert!(!text(device, &literal).contains(hint), "an address has no other: {device}");
    }
}

#[test]
fn every_device_has_one_name_and_no_text_has_a_secret() {
    let names: Vec<_> = DEVICES.iter().flat_map(|device| device.aliases.iter().chain([&device.name])).collect();
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    for device in &DEVICES {
        let text = device.text(&target("https://gw.example", Families::Both));
        let placeholder = if device.credential == Credential::Token { "TOKEN" } else { "PASSWORD" };
        assert!(text.contains(placeholder) && text.contains("home.dyn.example") && text.ends_with('\n'), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    }
}

#[test]
fn awkward_logins_are_quoted_for_each_syntax() {
    let login = r#"o'neil "x" %a"#;
    for (device, written) in [
        ("cisco", "://o%27neil%20%22x%22%20%25a:PASSWORD@x/"),
        ("ddns-go", "://o%27neil%20%22x%22%20%25a:PASSWORD@x/"),
        ("ddns-updater", "://o%27neil%20%22x%22%20%25a:PASSWORD@x/"),
        ("certbot", r#""username": "o'neil \"x\" %a""#),
        ("caddy", r#"username "o'neil \"x\" %a""#),
        ("lego", r#"HTTPREQ_USERNAME='o'\''neil "x" %a'"#),
        ("acme.sh", r#"ACMEPROXY_USERNAME='o'\''neil "x" %a'"#),
        ("vyos", r#"username 'o'\''neil "x" %a'"#),
        ("wget", r#"'--user=o'\''neil "x" %a'"#),
        ("asuswrt", r#"-u 'o'\''neil "x" %a:PASSWORD'"#),
        ("dyndnsc", r#"updater-userid = o'neil "x" %%a"#),
        ("ddclient-4", r#"login='o\'neil "x" %a'"#),
        ("hpe", "give the account another one"),
        ("huawei", "give the account another one"),
    ] {
        let text = text(device, &Target { login: login.to_owned(), ..target("https://x", Families::Both) });
        assert!(text.contains(written), "{text}");
    }
}
