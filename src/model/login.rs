//! What may be the user name of an account. Knows neither who is granted what, nor where accounts are kept.

/// The longest login, in octets.
const MAX_LOGIN: usize = 255;

/// Why a text cannot be a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("is empty")]
    Empty,
    /// What follows the colon would be read as the password, so the text is never repeated.
    #[error("has a colon in it, where HTTP ends it")]
    Colon,
    #[error("has a control character in it")]
    Control,
    #[error("is longer than {MAX_LOGIN} octets")]
    Long,
}

/// Whether Basic (RFC 7617 section 2) can carry `text` as a user name.
pub(crate) fn check_login(text: &str) -> Result<(), LoginError> {
    if text.is_empty() {
        Err(LoginError::Empty)
    } else if text.contains(':') {
        Err(LoginError::Colon)
    } else if text.chars().any(char::is_control) {
        Err(LoginError::Control)
    } else if text.len() > MAX_LOGIN {
        Err(LoginError::Long)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_what_basic_carries() {
        assert_eq!(check_login("Röuter 1"), Ok(()));
        assert_eq!(check_login(&"x".repeat(MAX_LOGIN)), Ok(()));
        assert_eq!(check_login(""), Err(LoginError::Empty));
        assert_eq!(check_login("a:\n"), Err(LoginError::Colon));
        assert_eq!(check_login("a\u{7f}"), Err(LoginError::Control));
        assert_eq!(check_login(&"ä".repeat(128)), Err(LoginError::Long));
    }
}
