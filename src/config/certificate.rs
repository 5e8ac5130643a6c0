//! The pair of `[http.tls]`: a certificate chain and its private key, read from PEM files and judged. Knows no socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};

use super::Tls;
use super::file::{self, in_time};

/// The largest file that is read, in octets.
const MAX_FILE: u64 = 256 * 1024;
/// A certificate that ends sooner is worth a warning: who renews by a program renews 30 days before.
pub(crate) const RENEW_WITHIN: Duration = Duration::from_secs(14 * 86_400);

/// Why a pair cannot be used; each names the file, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("{}: cannot be read: {source}; {} ([http.tls] names it)", path.display(), super::file::mend(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {what}; {advice}", path.display())]
    Broken { path: PathBuf, what: String, advice: &'static str },
    #[error("{}: others may {may} this private key (mode {mode:04o}); chmod o= {0}, and make a new key if strangers could have read it", path.display())]
    Exposed { path: PathBuf, may: &'static str, mode: u32 },
    #[error("{}: this is not the private key of the certificate in {}; give both files of the same renewal", key.display(), certificate.display())]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error("{}: the certificate expired at {at}; renew it, or set the clock of this machine, whose time is {now}", path.display())]
    Expired { path: PathBuf, at: String, now: String },
}

/// A certificate chain with its key, fit for use when it was read.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Pair {
    /// Reads both files of `tls` and judges them as of `now`.
    pub(crate) fn load(tls: &Tls, now: SystemTime) -> Result<Self, PairError> {
        let files = tls.clone();
        in_time(&tls.certificate, move || Self::load_now(&files, now))
            .unwrap_or_else(|error| Err(unreadable(&tls.certificate, error)))
    }

    fn load_now(tls: &Tls, now: SystemTime) -> Result<Self, PairError> {
        let chain = read_chain(&tls.certificate)?;
        let key = read_key(&tls.private_key)?;
        let (not_before, not_after) = chain.first().and_then(validity).ok_or_else(|| {
            broken(&tls.certificate, "the first certificate in this file is damaged", "write the whole chain again")
        })?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                PairError::Mismatch { key: tls.private_key.clone(), certificate: tls.certificate.clone() }
            }
            rustls::Error::InvalidCertificate(error) => broken(
                &tls.certificate,
                &format!("the first certificate in this file cannot be used: {error}"),
                "the server's own certificate, X.509 version 3, comes first",
            ),
            error => broken(
                &tls.private_key,
                &format!("this private key cannot be used: {error}"),
                "ECDSA P-256 and P-384, Ed25519, and RSA of 2048 to 8192 bits are served",
            ),
        })?;
        if not_after <= now {
            let (at, now) = (date(not_after), date(now));
            return Err(PairError::Expired { path: tls.certificate.clone(), at, now });
        }
        Ok(Self { certified: Arc::new(certified), not_before, not_after })
    }

    /// Whether it expires so soon that somebody should have renewed it.
    pub(crate) fn expires_soon(&self, now: SystemTime) -> bool {
        self.not_after.duration_since(now).unwrap_or_default() < RENEW_WITHIN
    }
}

/// A time in UTC, for people: `2026-11-21T10:44:43Z`.
pub(crate) fn date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    DateTime::from_unix_duration(since)
        .map_or_else(|_| "a time beyond the year 9999".to_owned(), |time| time.to_string())
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let advice =
        "write the certificate in PEM, the server's own first, then those that signed it (certbot: fullchain.pem)";
    let octets = read(path, file::open(path).map_err(|source| unreadable(path, source))?)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&octets)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(path, &error, advice))?;
    if chain.is_empty() {
        let what =
            if octets.trim_ascii().is_empty() { "this file is empty" } else { "there is no certificate in this file" };
        return Err(broken(path, what, advice));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PairError> {
    let advice = "write the private key in PEM, without a passphrase (certbot: privkey.pem)";
    let file = file::open(path).map_err(|source| unreadable(path, source))?;
    // The file that is read is the one that is judged.
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    if let Some(may) = exposed(metadata.mode(), metadata.uid()) {
        return Err(PairError::Exposed { path: path.to_owned(), may, mode: metadata.mode() & 0o7777 });
    }
    let octets = read(path, file)?;
    PrivateKeyDer::from_pem_slice(&octets).map_err(|error| match error {
        PemError::NoItemsFound if octets.trim_ascii().is_empty() => broken(path, "this file is empty", advice),
        PemError::NoItemsFound if is_encrypted(&octets) => broken(
            path,
            "the private key in this file is encrypted, and nobody types a passphrase at the start of a service",
            "openssl pkey -in FILE -out FILE.new writes it without one",
        ),
        PemError::NoItemsFound => broken(path, "there is no private key in this file", advice),
        error => not_pem(path, &error, advice),
    })
}

/// Who else may use the file. The group may where the file is root's: so are systemd's credentials and mounted secrets.
fn exposed(mode: u32, owner: u32) -> Option<&'static str> {
    match mode {
        _ if mode & 0o022 != 0 => Some("write"),
        _ if mode & 0o004 != 0 => Some("read"),
        _ if mode & 0o040 != 0 && owner != 0 => Some("read"),
        _ => None,
    }
}

fn is_encrypted(octets: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| octets.windows(mark.len()).any(|window| window == *mark))
}

fn read(path: &Path, file: fs::File) -> Result<Vec<u8>, PairError> {
    let octets = file::read(file, MAX_FILE).map_err(|source| unreadable(path, source))?;
    if octets.len() as u64 > MAX_FILE {
        return Err(broken(path, "this file is larger than 256 KiB", "name a file with one chain or one key in it"));
    }
    Ok(octets)
}

/// From when until when; `None` where this is no certificate.
fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let validity = parsed.tbs_certificate().validity();
    Some((UNIX_EPOCH + validity.not_before.to_unix_duration(), UNIX_EPOCH + validity.not_after.to_unix_duration()))
}

fn unreadable(path: &Path, source: io::Error) -> PairError {
    if source.kind() == io::ErrorKind::TimedOut {
        return broken(
            path,
            &format!("cannot be read: {source}"),
            "name files of this machine, or bring the server back",
        );
    }
    PairError::Unreadable { path: path.to_owned(), source }
}

fn broken(path: &Path, what: &str, advice: &'static str) -> PairError {
    PairError::Broken { path: path.to_owned(), what: what.to_owned(), advice }
}

/// The parser's own words may repeat a line of the file, which may be of a key.
fn not_pem(path: &Path, error: &PemError, advice: &'static str) -> PairError {
    let what = match error {
        PemError::MissingSectionEnd { .. } => "a block in this file has no END line",
        PemError::Base64Decode(_) => "a block in this file is not base64",
        _ => "this file is not PEM",
    };
    broken(path, what, advice)
}

/// What of a file changes when somebody writes, replaces or chmods it; symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp(u64, u64, u64, (i64, i64), (i64, i64));

impl FileStamp {
    /// Those of both files of a pair; `None` for one that is not there.
    pub(crate) fn of_pair(tls: &Tls) -> io::Result<[Option<Self>; 2]> {
        let files = [tls.certificate.clone(), tls.private_key.clone()];
        in_time(&tls.certificate, move || files.map(|file| Self::of(&file)))
    }

    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Self(file.dev(), file.ino(), file.len(), written, changed))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    struct Files {
        _folder: tempfile::TempDir,
        tls: Tls,
    }

    impl Files {
        fn new(certificate: &[u8], key: &[u8], mode: u32) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str, content: &[u8]| {
                let path = folder.path().join(name);
                fs::write(&path, content).unwrap();
                path
            };
            let (certificate, private_key) = (file("cert.pem", certificate), file("key.pem", key));
            fs::set_permissions(&private_key, fs::Permissions::from_mode(mode)).unwrap();
            Self { _folder: folder, tls: Tls { listen: Vec::new(), certificate, private_key } }
        }

        fn error(&self) -> String {
            Pair::load(&self.tls, SystemTime::now()).unwrap_err().to_string()
        }
    }

    fn pair(last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["dyndns.example.net".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_good_pair_is_read_with_its_validity() {
        let (certificate, key) = pair(2200);
        let pair =
            Pair::load(&Files::new(certificate.as_bytes(), key.as_bytes(), 0o600).tls, SystemTime::now()).unwrap();
        assert_eq!(
            (date(pair.not_before).as_str(), date(pair.not_after).as_str()),
            ("2020-01-01T00:00:00Z", "2200-12-31T00:00:00Z")
        );
        assert!(!pair.expires_soon(SystemTime::now()));
        assert!(pair.expires_soon(pair.not_after - Duration::from_secs(13 * 86_400)));
    }

    #[test]
    fn each_broken_pair_says_which_file_and_what() {
        let ((certificate, key), (old, old_key), (_, other)) = (pair(2200), pair(2021), pair(2200));
        let (certificate, key, other) = (certificate.as_bytes(), key.as_bytes(), other.as_bytes());
        let cut = &certificate[..certificate.len() / 2];
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (certificate, key, mode, says) in [
            (b"".as_slice(), key, 0o600, "cert.pem: this file is empty"),
            (b"hello", key, 0o600, "cert.pem: there is no certificate in this file"),
            (key, key, 0o600, "cert.pem: there is no certificate in this file"),
            (cut, key, 0o600, "cert.pem: a block in this file has no END line"),
            (nonsense, key, 0o600, "cert.pem: the first certificate in this file is damaged"),
            (certificate, b"\n", 0o600, "key.pem: this file is empty"),
            (certificate, certificate, 0o600, "key.pem: there is no private key in this file"),
            (certificate, encrypted, 0o600, "is encrypted"),
            (certificate, other, 0o600, "key.pem: this is not the private key of the certificate in "),
            (certificate, key, 0o604, "others may read this private key (mode 0604)"),
            (certificate, key, 0o620, "others may write this private key (mode 0620)"),
            (old.as_bytes(), old_key.as_bytes(), 0o600, "cert.pem: the certificate expired at 2021-12-31T00:00:00Z"),
            (&vec![b'x'; 300_000], key, 0o600, "cert.pem: this file is larger than 256 KiB"),
        ] {
            let error = Files::new(certificate, key, mode).error();
            assert!(error.contains(says), "{says}: {error}");
            let body = str::from_utf8(key).unwrap().lines().nth(1).unwrap_or("-");
            assert!(!error.contains(body), "no line of a key: {error}");
        }
        let mut absent = Files::new(certificate, key, 0o600);
        absent.tls.private_key = "/nonexistent/key.pem".into();
        assert!(absent.error().starts_with("/nonexistent/key.pem: cannot be read: No such file"));
    }

    #[test]
    fn a_group_may_read_only_what_root_owns() {
        assert_eq!(exposed(0o100_440, 0), None);
        assert_eq!(exposed(0o100_440, 1000), Some("read"));
        assert_eq!(exposed(0o100_400, 1000), None);
        assert_eq!(exposed(0o100_444, 0), Some("read"));
        assert_eq!(exposed(0o100_460, 0), Some("write"));
    }
}
