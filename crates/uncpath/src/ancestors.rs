//! Walking a path, downwards.

use core::iter::FusedIterator;

use crate::units::{BACKSLASH, COLON, first_component, position, trim_end};

/// The names below a share.
#[derive(Clone, Debug)]
pub struct Components<'a> {
    rest: &'a [u16],
}

impl<'a> Components<'a> {
    pub(crate) const fn new(rest: &'a [u16]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Components<'a> {
    type Item = &'a [u16];

    fn next(&mut self) -> Option<&'a [u16]> {
        let start = self.rest.iter().position(|&unit| unit != BACKSLASH)?;
        let rest = self.rest.get(start..)?;
        let name = first_component(rest);
        self.rest = rest.get(name.len()..)?;
        if self.rest.is_empty() {
            let end = position(name, COLON).unwrap_or(name.len());
            return name.get(..end);
        }
        Some(name)
    }
}

impl FusedIterator for Components<'_> {}

/// The directories on the way to a file, the share's root first, each as a prefix of the path.
#[derive(Clone, Debug)]
pub struct Ancestors<'a> {
    whole: &'a [u16],
    /// Where the next ancestor ends; that of the path's own name is its end, and no ancestor.
    next_end: usize,
    name_end: usize,
}

impl<'a> Ancestors<'a> {
    pub(crate) fn new(whole: &'a [u16], root_end: usize) -> Self {
        Self {
            whole,
            next_end: root_end,
            name_end: trim_end(whole, root_end),
        }
    }
}

impl<'a> Iterator for Ancestors<'a> {
    type Item = &'a [u16];

    fn next(&mut self) -> Option<&'a [u16]> {
        if self.next_end >= self.name_end {
            return None;
        }
        let ancestor = self.whole.get(..self.next_end)?;
        let below = self.whole.get(self.next_end..)?;
        let separators = below.iter().take_while(|&&unit| unit == BACKSLASH).count();
        self.next_end += separators + first_component(below.get(separators..)?).len();
        Some(ancestor)
    }
}

impl FusedIterator for Ancestors<'_> {}
