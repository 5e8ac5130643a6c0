//! What the command line says.

use std::fmt;

use lab::chosen;

use crate::Failure;

/// A row, or a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Storm,
    Store,
    TwoGateways,
    Dialects,
    NewConnections,
    NoChange,
    OneAtATime,
    ManyZones,
    HostsKnown,
    Followers,
    Password,
    Restart,
    Overload,
    Memory,
    BatchCurve,
    FlightCurve,
}

impl Name {
    /// In the order in which they are measured.
    const ALL: [Self; 16] = [
        Self::Storm,
        Self::Store,
        Self::TwoGateways,
        Self::Dialects,
        Self::NewConnections,
        Self::NoChange,
        Self::OneAtATime,
        Self::ManyZones,
        Self::HostsKnown,
        Self::Followers,
        Self::Password,
        Self::Restart,
        Self::Overload,
        Self::Memory,
        Self::BatchCurve,
        Self::FlightCurve,
    ];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storm => "storm",
            Self::Store => "store",
            Self::TwoGateways => "two-gateways",
            Self::Dialects => "dialects",
            Self::NewConnections => "new-connections",
            Self::NoChange => "no-change",
            Self::OneAtATime => "one-at-a-time",
            Self::ManyZones => "many-zones",
            Self::HostsKnown => "hosts-known",
            Self::Followers => "followers",
            Self::Password => "password",
            Self::Restart => "restart",
            Self::Overload => "overload",
            Self::Memory => "memory",
            Self::BatchCurve => "batch-curve",
            Self::FlightCurve => "flight-curve",
        })
    }
}

/// What to measure and how much of it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rows: Vec<Name>,
    pub(crate) rounds: usize,
    /// Hosts in a storm.
    pub(crate) hosts: usize,
    /// Hosts that are sent in one UPDATE each to measure that rate.
    pub(crate) baseline: usize,
    /// Hosts in the stores of the row "hosts known"; the first is what the others are held against.
    pub(crate) known: Vec<usize>,
    /// `DYNGATE_LOG` of the gateway; its default where nothing is said.
    pub(crate) log: Option<String>,
    /// Replace the figures in docs/ too.
    pub(crate) write_docs: bool,
}

const USAGE: &str = "[rows=all|NAME,…] [rounds=5] [hosts=20000] [baseline=5000] [known=1000,100000,1000000] [log=info|warn] [write=docs]";

impl Options {
    /// Reads `key=value` arguments.
    pub(crate) fn read(arguments: Vec<String>) -> Result<Self, Failure> {
        let mut options = Self {
            rows: Name::ALL.to_vec(),
            rounds: 5,
            hosts: 20_000,
            baseline: 5_000,
            known: vec![1000, 100_000, 1_000_000],
            log: None,
            write_docs: false,
        };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("rows", "all")) => {}
                Some(("rows", names)) => options.rows = chosen(&Name::ALL, names)?,
                Some(("rounds", number)) => options.rounds = number.parse()?,
                Some(("hosts", number)) => options.hosts = number.parse()?,
                Some(("baseline", number)) => options.baseline = number.parse()?,
                Some(("known", numbers)) => {
                    options.known = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?
                }
                Some(("log", filter)) => options.log = Some(filter.to_owned()),
                Some(("write", "docs")) => options.write_docs = true,
                _ => return Err(format!("{argument}? {USAGE}").into()),
            }
        }
        options.baseline = options.baseline.min(options.hosts);
        if options.baseline == 0 || options.rounds == 0 || options.known.contains(&0) {
            return Err("hosts, baseline, known and rounds begin at 1".into());
        }
        if options.write_docs && options.rows != Name::ALL {
            return Err("write=docs needs all rows".into());
        }
        Ok(options)
    }
}
