//! A disk of a few megabytes, to be filled to its last octet and freed again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Chaos, Failure};

/// A tmpfs on a scratch folder; it is mounted in our own namespace only, and gone with it.
pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    /// `None` where we may not mount.
    pub(crate) fn mount(chaos: &Chaos, mebibytes: u32) -> Result<Option<Self>, Failure> {
        if !chaos.is_inside {
            return Ok(None);
        }
        let folder = TempDir::with_prefix("dyngate-disk-")?;
        let size = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status()?;
        Ok(mounted.success().then_some(Self { folder }))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.folder().join("filler")
    }

    /// Until nothing more goes in.
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let mut file = File::create(self.filler())?;
        let mut chunk = vec![0_u8; 1 << 20];
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(written) if written > 0 => {}
                Err(error) if error.kind() != ErrorKind::StorageFull => return Err(error.into()),
                _ => chunk.truncate(chunk.len() / 2),
            }
        }
        Ok(())
    }

    pub(crate) fn free(&self) -> Result<(), Failure> {
        Ok(fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder()).status();
    }
}
