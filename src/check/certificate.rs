//! The certificate that TLS listeners would show: whether it can be used, and for how long still.

use std::time::SystemTime;

use super::{Advice, Finding};
use crate::config::Tls;
use crate::config::certificate::{Pair, PairError, date};

pub(super) fn examine(tls: &Tls, now: SystemTime) -> Option<Finding> {
    let certificate = tls.certificate.display();
    match Pair::load(tls, now) {
        Ok(pair) if pair.not_before > now => {
            let what = format!(
                "{certificate}: the certificate is valid from {} on, and the time of this machine is {}",
                date(pair.not_before),
                date(now)
            );
            Some(Finding::warning("certificate_not_yet_valid", what, vec![Advice::new("shell", "timedatectl status")]))
        }
        Ok(pair) if pair.expires_soon(now) => {
            let left = pair.not_after.duration_since(now).unwrap_or_default().as_secs() / 86_400;
            let what = format!(
                "{certificate}: the certificate expires at {}, {}; what should have renewed it did not",
                date(pair.not_after),
                match left {
                    0 => "within a day".to_owned(),
                    1 => "in one day".to_owned(),
                    days => format!("in {days} days"),
                }
            );
            Some(Finding::warning("certificate_expires", what, vec![renew()]))
        }
        Ok(_) => None,
        Err(error) => {
            let (code, advice) = match &error {
                PairError::Expired { .. } => ("certificate_expired", vec![renew()]),
                PairError::Exposed { path, .. } => {
                    ("exposed_secret", vec![Advice::new("shell", format!("chmod o= {}", path.display()))])
                }
                PairError::Unreadable { .. } | PairError::Broken { .. } | PairError::Mismatch { .. } => {
                    ("certificate_unusable", Vec::new())
                }
            };
            Some(Finding::error(code, error.to_string(), advice))
        }
    }
}

fn renew() -> Advice {
    Advice::new("shell", "certbot renew    # or whatever renews it here")
}
