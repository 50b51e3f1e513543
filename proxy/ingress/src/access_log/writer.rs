//! Rings to a file, on the service thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::{Counts, Ring};
use crate::host::Host;
use crate::limits::{ACCESS_LOG_COMPLAINT_PERIOD, ACCESS_LOG_PERIOD, ACCESS_LOG_WRITE_BYTES, STOP_TIME};
use crate::workers::Life;

/// The end of the access log that writes. SIGUSR1 opens the file again, so that it can be rotated.
pub struct Writer {
    path: Option<PathBuf>,
    file: Option<File>,
    rings: Vec<Ring>,
    woken: mpsc::Receiver<()>,
    counts: Arc<Counts>,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) fn open(
        path: Option<PathBuf>,
        rings: Vec<Ring>,
        woken: mpsc::Receiver<()>,
        counts: Arc<Counts>,
    ) -> io::Result<Writer> {
        let file = path.as_deref().map(append).transpose()?;
        Ok(Writer { path, file, rings, woken, counts, complained: None })
    }

    /// What was dropped and lost so far.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Writes until [`Life::Stop`], and then what is left for at most [`STOP_TIME`].
    pub async fn run(mut self, host: Host, mut life: watch::Receiver<Life>) {
        let mut out = Out::new(self.file.take(), host);
        let mut rotate = signal(SignalKind::user_defined1()).ok();
        loop {
            let rotated = async {
                match &mut rotate {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            let (mut rotates, mut stops) = (false, false);
            tokio::select! {
                _ = self.woken.recv() => {}
                () = tokio::time::sleep(ACCESS_LOG_PERIOD) => {}
                _ = rotated => rotates = true,
                _ = life.wait_for(|life| *life == Life::Stop) => stops = true,
            }
            while self.write_waiting(&mut out).await {}
            if rotates {
                self.reopen(&mut out, host);
            }
            if stops {
                return self.finish(&mut out).await;
            }
        }
    }

    /// Workers may end after the service thread was told to stop: waits for them.
    async fn finish(&mut self, out: &mut Out) {
        let end = Instant::now() + STOP_TIME;
        loop {
            let over = Instant::now() >= end || self.rings.iter().all(|ring| ring.is_abandoned());
            while self.write_waiting(out).await {}
            if over {
                return;
            }
            tokio::time::sleep(ACCESS_LOG_PERIOD / 10).await;
        }
    }

    /// Writes what waits in the rings, at most one batch; returns whether there may be more.
    async fn write_waiting(&mut self, out: &mut Out) -> bool {
        let mut batch = std::mem::take(&mut out.batch);
        batch.clear();
        let mut more = false;
        for ring in &mut self.rings {
            let waiting = ring.slots();
            // A ring holds whole lines only, so a batch ends with a line unless the ring is cut by its size.
            let taken = waiting.min(ACCESS_LOG_WRITE_BYTES.saturating_sub(batch.len()));
            more |= taken < waiting;
            if let Ok(chunk) = ring.read_chunk(taken) {
                let (first, second) = chunk.as_slices();
                batch.extend_from_slice(first);
                batch.extend_from_slice(second);
                chunk.commit_all();
            }
            // What follows of a cut ring must come before lines of other rings.
            if taken < waiting {
                break;
            }
        }
        if batch.is_empty() {
            out.batch = batch;
            return false;
        }
        let lines = batch.iter().filter(|byte| **byte == b'\n').count() as u64;
        let result;
        (result, out.batch) = out.target.write(batch).await;
        if let Err(error) = result {
            self.counts.failed.fetch_add(lines, Ordering::Relaxed);
            self.complain(&error);
        }
        more
    }

    fn reopen(&mut self, out: &mut Out, host: Host) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => out.target = Target::new(Some(file), host),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the access log cannot be opened again")
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|at| at.elapsed() >= ACCESS_LOG_COMPLAINT_PERIOD) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, lost_lines = self.counts.failed(), "the access log cannot be written");
        }
    }
}

/// As Traefik opens it, with the directories above it.
fn append(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Where batches go, and the buffer that they are put together in.
struct Out {
    target: Target,
    batch: Vec<u8>,
}

impl Out {
    fn new(file: Option<File>, host: Host) -> Out {
        Out { target: Target::new(file, host), batch: Vec::new() }
    }
}

enum Target {
    Ring(tokio_uring::fs::File),
    Plain(Arc<File>),
    StandardOutput,
}

impl Target {
    fn new(file: Option<File>, host: Host) -> Target {
        match (file, host) {
            (None, _) => Target::StandardOutput,
            (Some(file), Host::Ring) => Target::Ring(tokio_uring::fs::File::from_std(file)),
            (Some(file), Host::Plain) => Target::Plain(Arc::new(file)),
        }
    }

    /// Gives the buffer back.
    async fn write(&self, batch: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            // The file is open for appending: the kernel does not look at the position.
            Target::Ring(file) => file.write_all_at(batch, 0).await,
            Target::Plain(file) => {
                let file = file.clone();
                off_thread(batch, move |batch| (&*file).write_all(batch)).await
            }
            Target::StandardOutput => {
                off_thread(batch, |batch| {
                    let mut out = io::stdout().lock();
                    out.write_all(batch).and_then(|()| out.flush())
                })
                .await
            }
        }
    }
}

/// Writes that may block the thread.
async fn off_thread(
    batch: Vec<u8>,
    write: impl FnOnce(&[u8]) -> io::Result<()> + Send + 'static,
) -> (io::Result<()>, Vec<u8>) {
    let written = tokio::task::spawn_blocking(move || {
        let result = write(&batch);
        (result, batch)
    });
    written.await.unwrap_or_else(|error| (Err(io::Error::other(error)), Vec::new()))
}
