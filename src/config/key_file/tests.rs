//! What the two tools really print, variations of it, and every fault.

use proptest::prelude::*;

use super::*;
use crate::config::problem::Position;

/// `tsig-keygen router` of BIND 9.
const TSIG_KEYGEN: &str = "\
key \"router\" {
	algorithm hmac-sha256;
	secret \"MeoC+G8A9A+GeFT6KVcjqhSwqrHnq2asVee2PZT5D/g=\";
};
";

/// `keymgr -t router.example hmac-sha512` of Knot DNS 3.
const KEYMGR: &str = "\
# hmac-sha512:router.example:Qx71PhYOb0YbTFjgpbZPY1j970DAYIo/py8e7jQQCQ/FUGHfNhHQbjLk5g4afOyKvAODW/V/tf6dfjMMhVyRWA==
key:
  - id: router.example
    algorithm: hmac-sha512
    secret: Qx71PhYOb0YbTFjgpbZPY1j970DAYIo/py8e7jQQCQ/FUGHfNhHQbjLk5g4afOyKvAODW/V/tf6dfjMMhVyRWA==
";

fn name_algorithm_length(text: &str) -> (String, Algorithm, usize) {
    let key = parse(text).unwrap();
    (key.name.to_string(), key.algorithm, key.expose().len())
}

fn fault(text: &str) -> String {
    let Fault { at, message, help } = parse(text).unwrap_err();
    assert!(!help.is_empty());
    let Position { line, column } = Position::of(text, at);
    format!("{line}:{column}: {message}")
}

#[test]
fn what_the_tools_print_is_read() {
    assert_eq!(name_algorithm_length(TSIG_KEYGEN), ("router".into(), Algorithm::HmacSha256, 32));
    assert_eq!(name_algorithm_length(KEYMGR), ("router.example".into(), Algorithm::HmacSha512, 64));
}

#[test]
fn comments_and_other_spellings_are_read() {
    for text in [
        "// by hand\n/* key: */ # x\nkey Router. { secret c2VjcmV0; algorithm \"HMAC-SHA256\"; }",
        "key \"router\"{algorithm hmac-sha256;secret \"c2VjcmV0\";};# end",
        "\u{feff}key:\r\n- id: \"router.\"   # ours\r\n  secret: 'c2VjcmV0'\r\n  algorithm: hmac-sha256.\r\n",
        "key :\n- id : router\n  algorithm : hmac-sha256\n  secret: c2VjcmV0\n",
        "---\n\n# a comment\nkey:\n    -   algorithm: hmac-sha256\n        id: router\n        secret: c2VjcmV0",
    ] {
        assert_eq!(name_algorithm_length(text), ("router".into(), Algorithm::HmacSha256, 6), "{text}");
    }
}

#[test]
fn a_fault_names_its_place() {
    let named = |from: &str, to: &str| fault(&TSIG_KEYGEN.replace(from, to));
    assert_eq!(named("hmac-sha256", "hmac-md5"), "2:12: 'hmac-md5' is too weak and not served");
    assert_eq!(named("hmac-sha256", "c2VjcmV0"), "2:12: this is not a TSIG algorithm that we sign with");
    assert_eq!(named("g=", "g"), "3:9: the secret is not base64");
    assert_eq!(named("=\"", "="), "3:9: this string is not closed");
    assert_eq!(named("sha256;", "sha256"), "3:2: `;` is missing before this");
    assert_eq!(named("};", ""), "5:1: the key's clause is not closed");
    assert_eq!(named("algorithm", "algo"), "2:2: this is no part of a key");
    assert_eq!(named("algorithm", "id"), "2:2: this is no part of a key");
    assert_eq!(named("\talgorithm hmac-sha256;\n", ""), "1:1: this key has no algorithm");
    assert_eq!(
        named("router", "a b"),
        format!("1:5: the name of this key is not a domain name: {}", crate::model::NameError::ForeignCharacter)
    );
    assert_eq!(named("};", "};\noptions {};"), "5:1: more than a key stands in this file");
    assert_eq!(named("};", "};\n/* open"), "5:1: this comment is not closed");
    assert_eq!(fault(&TSIG_KEYGEN.repeat(2)), "5:1: a second key stands in this file");

    let knot = |from: &str, to: &str| fault(&KEYMGR.replace(from, to));
    assert_eq!(knot("hmac-sha512\n", "hmac-sha1\n"), "4:16: 'hmac-sha1' is too weak and not served");
    assert_eq!(knot("==\n", "\n"), "5:13: the secret is not base64");
    assert_eq!(knot("- id", "  id"), "3:5: a `-` should begin the key here");
    assert_eq!(knot("    algorithm: hmac-sha512\n", ""), "3:3: this key has no algorithm");
    assert_eq!(knot("    algorithm:", "    algorithm"), "4:5: this is not `name: value`");
    assert_eq!(knot("key:\n", "key:\nzone:\n"), "3:1: more than the section `key:` stands in this file");
    assert_eq!(fault("key:\n"), "1:1: there is no key below `key:`");
    assert_eq!(fault("key:\n  - id: a\n  - id: b\n"), "3:3: a second key stands in this file");

    assert_eq!(fault("# only a comment\n"), "2:1: there is no key in this file");
    assert!(fault("MeoC+G8A9A+GeFT6KVcjqhSwqrHnq2asVee2PZT5D/g=\n").starts_with("1:1: this is neither"));
}

#[test]
fn a_retired_algorithm_says_which_command_makes_a_better_key() {
    let help = parse(&KEYMGR.replace("hmac-sha512\n", "hmac-sha1\n")).unwrap_err().help;
    assert!(help.contains("`tsig-keygen -a hmac-sha256 router.example`"), "{help}");
    assert!(help.contains("`keymgr -t router.example hmac-sha256`") && help.contains("primary"), "{help}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic_or_tell_the_secret(
        knot in any::<bool>(), at in 0usize..300, length in 0usize..8, put in "[ -~\n]{0,4}",
    ) {
        let mut text = if knot { KEYMGR } else { TSIG_KEYGEN }.to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + length).min(text.len()), &put);
        if let Err(Fault { message, help, .. }) = parse(&text) {
            for secret in ["MeoC", "KVcjqh", "2PZT5D", "Qx71Ph", "py8e7j", "MMhVyR"] {
                prop_assert!(!message.contains(secret) && !help.contains(secret), "{message}");
            }
        }
    }
}
