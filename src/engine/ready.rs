//! Names that may leave, by the company in which they travel. Pure.

use std::collections::VecDeque;

use super::suspects::Company;
use crate::model::Hostname;

/// Names that may leave, by the company in which they travel; the companies take turns.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queues: VecDeque<(Company, VecDeque<Hostname>)>,
}

impl Ready {
    pub(super) fn push(&mut self, company: Company, name: Hostname) {
        match self.queues.iter_mut().find(|(other, _)| *other == company) {
            Some((_, queue)) => queue.push_back(name),
            None => self.queues.push_back((company, VecDeque::from([name]))),
        }
    }

    pub(super) fn next_company(
        &mut self,
        may_leave: impl Fn(&Company) -> bool,
    ) -> Option<(Company, &mut VecDeque<Hostname>)> {
        let position = self.queues.iter().position(|(company, _)| may_leave(company))?;
        let turn = self.queues.remove(position)?;
        self.queues.push_back(turn);
        self.queues.back_mut().map(|(company, queue)| (company.clone(), queue))
    }

    /// Takes `name` out of the queue of `company`; whether it was there.
    pub(super) fn take_out(&mut self, company: &Company, name: &Hostname) -> bool {
        let Some((_, queue)) = self.queues.iter_mut().find(|(other, _)| other == company) else { return false };
        let Some(position) = queue.iter().position(|other| other == name) else { return false };
        queue.remove(position);
        self.forget_empty();
        true
    }

    pub(super) fn names(&self) -> usize {
        self.queues.iter().map(|(_, queue)| queue.len()).sum()
    }

    pub(super) fn has_company(&self, may_leave: impl Fn(&Company) -> bool) -> bool {
        self.queues.iter().any(|(company, _)| may_leave(company))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Hostname) -> bool) {
        self.queues.iter_mut().for_each(|(_, queue)| queue.retain(&keep));
        self.forget_empty();
    }

    pub(super) fn forget_empty(&mut self) {
        self.queues.retain(|(_, queue)| !queue.is_empty());
    }
}
