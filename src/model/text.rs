//! Texts that strangers typed, as they may be shown: nothing in them moves the cursor, turns the direction of writing, or hides.

use std::fmt::Write as _;

/// `text` on one line; what must not be shown is replaced.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// JSON on one line, with an escape for what must not be shown: JSON itself lets that stand, and it is no safer on a terminal.
pub(crate) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Control characters, those that turn the direction of writing (UAX #9), and those that have no width (Unicode's
/// `Default_Ignorable_Code_Point`): two texts that differ must not look the same.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_moves_the_cursor_turns_the_writing_or_hides() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}1m\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}1m\u{fffd}d");
        for hidden in
            ["\u{7}", "\u{61c}", "\u{200b}", "\u{200d}", "\u{2060}", "\u{2066}", "\u{feff}", "\u{ad}", "\u{e0041}"]
        {
            assert_eq!(clean(&format!("a{hidden}ä語")), "a\u{fffd}ä語", "{hidden:?}");
            let json = serde_json::to_string(hidden).unwrap();
            let shown = escaped(&json);
            assert!(shown.is_ascii(), "{shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hidden, "it comes back as it was");
        }
        assert_eq!(escaped("{\"a\":\"\u{7f}\u{9b}\u{202e}ä\"}"), "{\"a\":\"\\u007f\\u009b\\u202eä\"}");
    }
}
