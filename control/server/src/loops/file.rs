//! The services file: looked at, judged, applied.

use std::path::PathBuf;
use std::sync::Arc;

use pancake_discovery::sources::static_file::keeper::Keeper;
use pancake_discovery::sources::static_file::watch::Watched;
use tokio::sync::watch;

use crate::plane::{Plane, stopped};
use crate::publish::finish::judge;

/// A services file that is followed.
pub struct Follower {
    plane: Arc<Plane>,
    watched: Watched,
    keeper: Keeper,
}

impl Follower {
    /// With the entries that were in force before a restart.
    pub fn new(plane: Arc<Plane>, path: PathBuf) -> Follower {
        let watched = Watched::new(path);
        let kept = plane.read(|world| world.entries().clone());
        let keeper = Keeper::new(plane.settings().node.clone(), watched.syntax(), judge, kept);
        Follower { plane, watched, keeper }
    }

    /// Looks once, and applies what changed.
    pub async fn look(mut self) -> Follower {
        let looked = tokio::task::spawn_blocking(move || {
            let view = self.watched.look().map(|text| match &text {
                Ok(text) => self.keeper.observe(Ok(text)),
                Err(why) => self.keeper.observe(Err(format!("{}: {why}", self.watched.path().display()))),
            });
            (self, view)
        });
        let (follower, view) = match looked.await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let Some(view) = view.filter(|v| follower.plane.read(|w| w.file_differs(v))) else { return follower };
        let plan = view.clone();
        let applied = follower
            .plane
            .commit(move |world| Ok(world.plan_file(&plan)), |world, at| world.apply_file(view, at))
            .await;
        if let Err(e) = applied {
            let message = format!("the services file could not be applied: {e}");
            follower.plane.update_quietly(|world, at| world.set_alarm("services-file", Some(message), at));
        }
        follower
    }

    /// Looks until `stop` is set.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let pause = self.plane.settings().file_poll;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut stop) => return,
            }
            self = self.look().await;
        }
    }
}
