//! What a check says: what is wrong, where, and the line of configuration that would mend it.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Updates will fail, or must not be trusted.
    Error,
    /// Updates of one host will fail, or of all before long.
    Warning,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A line of configuration, or a command, that would mend a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The file that it belongs to, or "shell".
    pub(crate) place: &'static str,
    pub(crate) line: String,
}

impl Advice {
    pub(super) fn new(place: &'static str, line: impl Into<String>) -> Self {
        Self { place, line: line.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// A word for programs.
    pub(crate) code: &'static str,
    /// Which names it is about, where it is about names.
    pub(crate) hosts: Vec<String>,
    /// What is wrong, in a sentence without a full stop.
    pub(crate) what: String,
    /// What would mend it; one of them is enough.
    pub(crate) advice: Vec<Advice>,
}

impl Finding {
    pub(super) fn error(code: &'static str, what: impl Into<String>, advice: Vec<Advice>) -> Self {
        Self { level: Level::Error, code, hosts: Vec::new(), what: what.into(), advice }
    }

    pub(super) fn warning(code: &'static str, what: impl Into<String>, advice: Vec<Advice>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, what, advice) }
    }

    pub(super) fn about(mut self, hosts: Vec<String>) -> Self {
        self.hosts = hosts;
        self
    }
}
