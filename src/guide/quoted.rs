//! Values as the syntaxes of devices and programs take them. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986 section 2.3 reserves for nothing.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One word of a POSIX shell; UCI and the command lines of routers that are a shell read it alike.
pub(super) fn shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// A part of a URL: of its user information, its path or its query.
pub(super) fn percent(value: &str) -> String {
    utf8_percent_encode(value, UNRESERVED).to_string()
}

/// A string of JSON, which is one of YAML too, between double quotes.
pub(super) fn json(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// A value of an INI file that Python's configparser reads: `%` begins a reference there.
pub(super) fn ini(value: &str) -> String {
    value.replace('%', "%%")
}

/// One word of a Caddyfile, in which `{` begins a placeholder.
pub(super) fn caddyfile(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('{', "\\{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_awkward_value_stays_one_value() {
        let value = r#"o'neil "$HOME" \x %{a} ö&?#/@"#;
        assert_eq!(shell(value), r#"'o'\''neil "$HOME" \x %{a} ö&?#/@'"#);
        assert_eq!(percent(value), "o%27neil%20%22%24HOME%22%20%5Cx%20%25%7Ba%7D%20%C3%B6%26%3F%23%2F%40");
        assert_eq!(json(value), r#""o'neil \"$HOME\" \\x %{a} ö&?#/@""#);
        assert_eq!(ini(value), r#"o'neil "$HOME" \x %%{a} ö&?#/@"#);
        assert_eq!(caddyfile(value), r#""o'neil \"$HOME\" \\x %\{a} ö&?#/@""#);
        assert_eq!(percent("router-1.a_b~c"), "router-1.a_b~c");
    }
}
