//! What the command line says.

use std::fmt;

use lab::{Kind, chosen};

use crate::Failure;

/// A fault, and what it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    KillGateway,
    KillPrimary(Kind),
    HangPrimary(Kind),
    KillPostgres,
    HangPostgres,
    DiskPrimary(Kind),
    DiskStore,
    Netem,
    SlowPath,
    HalfOpen,
    BlackHole,
    Descriptors,
    SlowLoris(From),
    Idle(From),
    GatewayClock(Step),
    PrimaryClock(Kind, Step),
}

/// Where a crowd of clients comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    ManySources,
    OneSource,
}

/// How a clock is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Forward,
    Back,
}

impl Step {
    /// As libfaketime reads it.
    pub(crate) fn seconds(self) -> &'static str {
        match self {
            Self::Forward => "+3600",
            Self::Back => "-3600",
        }
    }
}

impl Name {
    /// In the order in which they are run.
    const ALL: [Self; 28] = [
        Self::KillGateway,
        Self::KillPrimary(Kind::Bind),
        Self::KillPrimary(Kind::Knot),
        Self::KillPrimary(Kind::PowerDnsLmdb),
        Self::KillPrimary(Kind::PowerDnsSqlite),
        Self::KillPostgres,
        Self::HangPostgres,
        Self::HangPrimary(Kind::Bind),
        Self::DiskPrimary(Kind::Bind),
        Self::DiskPrimary(Kind::Knot),
        Self::DiskPrimary(Kind::PowerDnsLmdb),
        Self::DiskPrimary(Kind::PowerDnsSqlite),
        Self::DiskStore,
        Self::Netem,
        Self::SlowPath,
        Self::HalfOpen,
        Self::BlackHole,
        Self::Descriptors,
        Self::SlowLoris(From::ManySources),
        Self::SlowLoris(From::OneSource),
        Self::Idle(From::ManySources),
        Self::Idle(From::OneSource),
        Self::GatewayClock(Step::Forward),
        Self::GatewayClock(Step::Back),
        Self::PrimaryClock(Kind::PowerDnsLmdb, Step::Forward),
        Self::PrimaryClock(Kind::PowerDnsLmdb, Step::Back),
        Self::PrimaryClock(Kind::Knot, Step::Forward),
        Self::PrimaryClock(Kind::Knot, Step::Back),
    ];

    /// The name of a fault in the table.
    pub(crate) fn fault(self) -> &'static str {
        match self {
            Self::KillGateway => "gateway killed (SIGKILL)",
            Self::KillPrimary(_) => "primary killed (SIGKILL)",
            Self::KillPostgres => "store killed (SIGKILL)",
            Self::HangPostgres => "store hangs (SIGSTOP)",
            Self::HangPrimary(_) => "primary hangs (SIGSTOP)",
            Self::DiskPrimary(_) => "disk full under the primary",
            Self::DiskStore => "disk full under the store",
            Self::Netem => "loss and delay (tc netem)",
            Self::SlowPath => "delay and stalls on the way to the primary",
            Self::HalfOpen => "half-open connections to the primary",
            Self::BlackHole => "way to the primary swallows everything",
            Self::Descriptors => "descriptors exhausted",
            Self::SlowLoris(_) => "slow-loris, 2 000 connections",
            Self::Idle(_) => "10 000 idle connections",
            Self::GatewayClock(Step::Forward) => "gateway's clock steps by +1 h",
            Self::GatewayClock(Step::Back) => "gateway's clock steps by -1 h",
            Self::PrimaryClock(_, Step::Forward) => "primary's clock steps by +1 h",
            Self::PrimaryClock(_, Step::Back) => "primary's clock steps by -1 h",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Kind| match kind {
            Kind::Bind => "bind",
            Kind::Knot => "knot",
            Kind::PowerDnsLmdb => "powerdns-lmdb",
            Kind::PowerDnsSqlite => "powerdns-sqlite",
        };
        let from = |from: &From| match from {
            From::ManySources => "many",
            From::OneSource => "one",
        };
        let step = |step: &Step| match step {
            Step::Forward => "forward",
            Step::Back => "back",
        };
        match self {
            Self::KillGateway => f.write_str("kill-gateway"),
            Self::KillPrimary(on) => write!(f, "kill-{}", kind(on)),
            Self::KillPostgres => f.write_str("kill-postgres"),
            Self::HangPostgres => f.write_str("hang-postgres"),
            Self::HangPrimary(on) => write!(f, "hang-{}", kind(on)),
            Self::DiskPrimary(on) => write!(f, "disk-{}", kind(on)),
            Self::DiskStore => f.write_str("disk-store"),
            Self::Netem => f.write_str("netem"),
            Self::SlowPath => f.write_str("slow-path"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::BlackHole => f.write_str("black-hole"),
            Self::Descriptors => f.write_str("descriptors"),
            Self::SlowLoris(sources) => write!(f, "slow-loris-{}", from(sources)),
            Self::Idle(sources) => write!(f, "idle-{}", from(sources)),
            Self::GatewayClock(by) => write!(f, "clock-gateway-{}", step(by)),
            Self::PrimaryClock(on, by) => write!(f, "clock-{}-{}", kind(on), step(by)),
        }
    }
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rows: Vec<Name>,
    /// Replace the table in docs/ too.
    pub(crate) write_docs: bool,
}

impl Options {
    /// Reads `key=value` arguments.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { rows: Name::ALL.to_vec(), write_docs: false };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("rows", "all")) => {}
                Some(("rows", names)) => options.rows = chosen(&Name::ALL, names)?,
                Some(("write", "docs")) => options.write_docs = true,
                _ => return Err(format!("{argument}? [rows=all|NAME,…] [write=docs]").into()),
            }
        }
        if options.write_docs && options.rows != Name::ALL {
            return Err("write=docs needs all rows".into());
        }
        Ok(options)
    }
}
