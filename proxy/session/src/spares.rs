//! Boxes for large futures that live for one exchange, used again.
//!
//! An exchange needs two kilobytes of state, an idle connection a few hundred bytes: in a box of its own while it runs,
//! the exchange costs idle connections nothing, and a request allocates nothing once there are enough boxes.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::limits::MAX_SPARE_BOXES;

/// Empty boxes of one worker.
#[derive(Default)]
pub(crate) struct Spares(RefCell<Vec<Box<dyn Any>>>);

/// A box that can be emptied and filled again where it is. The outer box is what [`Spares`] keeps.
type Slot<F> = Box<Pin<Box<Option<F>>>>;

impl Spares {
    /// Moves a future into a box.
    pub(crate) fn start<F: Future + 'static>(&self, future: F) -> Running<'_, F> {
        let spare = self.0.borrow_mut().pop();
        // All exchanges of a worker are one type; a box of another type is dropped.
        let spare = spare.and_then(|any| any.downcast::<Pin<Box<Option<F>>>>().ok());
        let mut slot: Slot<F> = spare.unwrap_or_else(|| Box::new(Box::pin(None)));
        slot.as_mut().as_mut().set(Some(future));
        Running { spares: self, slot: Some(slot) }
    }
}

/// A future in a box. The box goes back when this drops.
pub(crate) struct Running<'a, F: Future + 'static> {
    spares: &'a Spares,
    slot: Option<Slot<F>>,
}

impl<F: Future + 'static> Future for Running<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let slot = self.slot.as_mut().expect("taken only by drop");
        slot.as_mut().as_mut().as_pin_mut().expect("filled until drop").poll(cx)
    }
}

impl<F: Future + 'static> Drop for Running<'_, F> {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        slot.as_mut().as_mut().set(None);
        let mut spares = self.spares.0.borrow_mut();
        if spares.len() < MAX_SPARE_BOXES {
            spares.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    fn now<F: Future>(future: F) -> F::Output {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future waits"),
        }
    }

    #[test]
    fn uses_a_box_again() {
        let spares = Spares::default();
        for n in 0..5 {
            assert_eq!(now(spares.start(async move { n })), n);
            assert_eq!(spares.0.borrow().len(), 1);
        }
    }

    #[test]
    fn drops_what_it_held_when_it_is_dropped_early() {
        let spares = Spares::default();
        let held = std::rc::Rc::new(());
        let clone = held.clone();
        drop(spares.start(async move {
            std::future::pending::<()>().await;
            drop(clone);
        }));
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
    }
}
