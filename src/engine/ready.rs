//! Names that may leave, by batch class. Pure.

use std::collections::VecDeque;

use super::quarantine::BatchClass;
use crate::model::Hostname;

/// Names that may leave, by batch class; the classes take turns.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queues: VecDeque<(BatchClass, VecDeque<Hostname>)>,
}

impl Ready {
    pub(super) fn push(&mut self, class: BatchClass, name: Hostname) {
        match self.queues.iter_mut().find(|(other, _)| *other == class) {
            Some((_, queue)) => queue.push_back(name),
            None => self.queues.push_back((class, VecDeque::from([name]))),
        }
    }

    pub(super) fn next_class(
        &mut self,
        may_leave: impl Fn(&BatchClass) -> bool,
    ) -> Option<(BatchClass, &mut VecDeque<Hostname>)> {
        let position = self.queues.iter().position(|(class, _)| may_leave(class))?;
        let turn = self.queues.remove(position)?;
        self.queues.push_back(turn);
        self.queues.back_mut().map(|(class, queue)| (class.clone(), queue))
    }

    /// Takes `name` out of the queue of `class`; whether it was there.
    pub(super) fn take_out(&mut self, class: &BatchClass, name: &Hostname) -> bool {
        let Some((_, queue)) = self.queues.iter_mut().find(|(other, _)| other == class) else { return false };
        let Some(position) = queue.iter().position(|other| other == name) else { return false };
        queue.remove(position);
        self.forget_empty();
        true
    }

    pub(super) fn names(&self) -> usize {
        self.queues.iter().map(|(_, queue)| queue.len()).sum()
    }

    /// How many names wait for which nobody waits.
    pub(super) fn background(&self) -> usize {
        let background = self.queues.iter().filter(|(class, _)| *class == BatchClass::Background);
        background.map(|(_, queue)| queue.len()).sum()
    }

    /// How often `name` is in line.
    #[cfg(test)]
    pub(super) fn count(&self, name: &Hostname) -> usize {
        self.queues.iter().flat_map(|(_, queue)| queue).filter(|other| *other == name).count()
    }

    pub(super) fn has_class(&self, may_leave: impl Fn(&BatchClass) -> bool) -> bool {
        self.queues.iter().any(|(class, _)| may_leave(class))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Hostname) -> bool) {
        self.queues.iter_mut().for_each(|(_, queue)| queue.retain(&keep));
        self.forget_empty();
    }

    pub(super) fn forget_empty(&mut self) {
        self.queues.retain(|(_, queue)| !queue.is_empty());
    }
}
