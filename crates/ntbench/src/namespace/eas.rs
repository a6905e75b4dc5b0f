//! Extended attributes of files: `FILE_FULL_EA_INFORMATION` and `FILE_GET_EA_INFORMATION` (MS-FSCC 2.4.15, 2.4.16).

use super::open::OpenFile;
use super::watch::{Action, CHANGE_EA};
use crate::abi::status::{self, NtStatus};

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ea {
    /// `FILE_NEED_EA`, or nothing.
    flags: u8,
    /// Its name, in upper case.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// What a query wants.
pub(crate) struct Query {
    /// These alone; `None`: all, from where the handle's last query ended.
    pub(crate) names: Option<Vec<Vec<u8>>>,
    /// From the first one on.
    pub(crate) restart: bool,
    /// From this one on, beginning at 1.
    pub(crate) index: Option<u32>,
    /// One alone.
    pub(crate) single: bool,
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*four)).ok()
}

fn named(name: &[u8]) -> Result<Vec<u8>, NtStatus> {
    let legal = |byte: &u8| *byte > 0x1F && !br#"\/:*?"<>|,+=[];"#.contains(byte);
    if name.is_empty() || !name.iter().all(legal) {
        return Err(status::INVALID_EA_NAME);
    }
    Ok(name.to_ascii_uppercase())
}

/// Walks a list whose entries begin with the offset to the next one.
fn each<T>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<T>, NtStatus>,
) -> Result<Vec<T>, NtStatus> {
    let mut all = Vec::new();
    let mut at = 0;
    loop {
        let entry = bytes.get(at..).ok_or(status::EA_LIST_INCONSISTENT)?;
        let next = word(entry, 0).ok_or(status::EA_LIST_INCONSISTENT)?;
        all.push(read(entry)?.ok_or(status::EA_LIST_INCONSISTENT)?);
        match next {
            0 => return Ok(all),
            next if next.is_multiple_of(4) => at += next,
            _ => return Err(status::EA_LIST_INCONSISTENT),
        }
    }
}

/// Whether a buffer holds a list of extended attributes (`IoCheckEaBufferValidity`); an error: where it does not.
pub(crate) fn check(bytes: &[u8]) -> Result<(), usize> {
    const HEADER: usize = 8;
    let mut at = 0;
    loop {
        let entry = bytes.get(at..).unwrap_or_default();
        let lengths = entry.get(5..HEADER).ok_or(at)?;
        let name = usize::from(lengths[0]);
        let value = usize::from(u16::from_le_bytes([lengths[1], lengths[2]]));
        let end = HEADER + name + 1 + value;
        if entry.len() < end || entry.get(HEADER + name) != Some(&0) {
            return Err(at);
        }
        match word(entry, 0).ok_or(at)? {
            0 => return Ok(()),
            // The next one lies behind this one, at a multiple of four.
            next if (end..=entry.len()).contains(&next) && next.is_multiple_of(4) => at += next,
            _ => return Err(at),
        }
    }
}

/// The names in a `FILE_GET_EA_INFORMATION` list.
pub(crate) fn names(bytes: &[u8]) -> Result<Vec<Vec<u8>>, NtStatus> {
    each(bytes, |entry| {
        let length = entry.get(4).copied().map(usize::from);
        let name = length.and_then(|length| entry.get(5..5 + length));
        name.map(named).transpose()
    })
}

/// The attributes in a `FILE_FULL_EA_INFORMATION` list.
fn full(bytes: &[u8]) -> Result<Vec<Ea>, NtStatus> {
    each(bytes, |entry| {
        let Some([flags, name, low, high]) = entry.get(4..8) else {
            return Ok(None);
        };
        let (name, value) = (
            usize::from(*name),
            usize::from(u16::from_le_bytes([*low, *high])),
        );
        let behind = 8 + name + 1;
        let (Some(name), Some(value)) = (entry.get(8..8 + name), entry.get(behind..behind + value))
        else {
            return Ok(None);
        };
        Ok(Some(Ea {
            flags: *flags,
            name: named(name)?,
            value: value.to_vec(),
        }))
    })
}

/// An entry; the offset to the next one is left 0.
fn entry(ea: &Ea) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.push(ea.flags);
    bytes.push(u8::try_from(ea.name.len()).unwrap_or(u8::MAX));
    bytes.extend(
        u16::try_from(ea.value.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    bytes.extend(&ea.name);
    bytes.push(0);
    bytes.extend(&ea.value);
    bytes
}

/// As many as fit, and how many those are.
fn list(eas: &[Ea], room: usize) -> (Vec<u8>, usize) {
    let mut out: Vec<u8> = Vec::new();
    let mut last = 0;
    for (count, ea) in eas.iter().enumerate() {
        let (at, bytes) = (out.len().next_multiple_of(4), entry(ea));
        if at + bytes.len() > room {
            return (out, count);
        }
        if at != 0 {
            let distance = u32::try_from(at - last).unwrap_or(0);
            out[last..last + 4].copy_from_slice(&distance.to_le_bytes());
        }
        out.resize(at, 0);
        out.extend(bytes);
        last = at;
    }
    (out, eas.len())
}

impl OpenFile {
    fn eas(&self) -> Vec<Ea> {
        let known = self.tree().zip(self.file_id());
        known.map_or_else(Vec::new, |(tree, id)| tree.notes.get(id).eas)
    }

    /// All of its extended attributes, as a list.
    pub(crate) fn ea_list(&self) -> Vec<u8> {
        list(&self.eas(), usize::MAX).0
    }

    /// How many bytes its extended attributes take (`FileEaInformation`).
    pub(crate) fn ea_size(&self) -> u32 {
        u32::try_from(self.ea_list().len()).unwrap_or(u32::MAX)
    }

    /// Its extended attributes, as many as there is room for, and how the query ended.
    pub(crate) fn query_eas(
        &self,
        query: &Query,
        room: usize,
    ) -> Result<(NtStatus, Vec<u8>), NtStatus> {
        let all = self.eas();
        if let Some(names) = &query.names {
            // What is not there is answered without a value.
            let wanted = names.iter().map(|name| {
                let there = all.iter().find(|ea| ea.name == *name);
                there.cloned().unwrap_or_else(|| Ea {
                    flags: 0,
                    name: name.clone(),
                    value: Vec::new(),
                })
            });
            let wanted: Vec<Ea> = wanted.collect();
            let (bytes, count) = list(&wanted, room);
            return if count < wanted.len() {
                Err(NtStatus::BUFFER_OVERFLOW)
            } else {
                Ok((NtStatus::SUCCESS, bytes))
            };
        }
        if all.is_empty() {
            return Err(status::NO_EAS_ON_FILE);
        }
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = match query.index {
            Some(0) => return Err(status::NONEXISTENT_EA_ENTRY),
            Some(index) => index as usize - 1,
            None if query.restart => 0,
            None => state.next_ea as usize,
        };
        let rest = match all.get(first..) {
            Some(rest) if !rest.is_empty() => rest,
            _ if query.index.is_some() => return Err(status::NONEXISTENT_EA_ENTRY),
            _ => return Err(status::NO_MORE_EAS),
        };
        let rest = if query.single { &rest[..1] } else { rest };
        let (bytes, count) = list(rest, room);
        state.next_ea = u32::try_from(first + count).unwrap_or(u32::MAX);
        match count {
            0 => Err(NtStatus::BUFFER_TOO_SMALL),
            count if count < rest.len() => Ok((NtStatus::BUFFER_OVERFLOW, bytes)),
            _ => Ok((NtStatus::SUCCESS, bytes)),
        }
    }

    /// Whether one of its extended attributes is one without which the file is not understood (`FILE_NEED_EA`).
    pub(crate) fn needs_eas(&self) -> bool {
        /// `FILE_NEED_EA`.
        const NEED: u8 = 0x80;
        self.eas().iter().any(|ea| ea.flags & NEED != 0)
    }

    /// Gives it those of a create that has made or replaced it, and no others.
    pub(crate) fn replace_eas(&self, bytes: &[u8]) -> Result<(), NtStatus> {
        let (Some(tree), Some(id)) = (self.tree(), self.file_id()) else {
            return Err(status::EAS_NOT_SUPPORTED);
        };
        let mut set = if bytes.is_empty() {
            Vec::new()
        } else {
            full(bytes)?
        };
        set.retain(|ea| !ea.value.is_empty());
        if set.is_empty() && self.eas().is_empty() {
            return Ok(());
        }
        self.pin();
        tree.notes.change(id, |note| note.eas = set);
        Ok(())
    }

    /// Sets extended attributes; one without a value goes.
    pub(crate) fn set_eas(&self, bytes: &[u8]) -> Result<(), NtStatus> {
        let (Some(tree), Some(id)) = (self.tree(), self.file_id()) else {
            return Err(status::EAS_NOT_SUPPORTED);
        };
        let set = full(bytes)?;
        self.pin();
        tree.notes.change(id, |note| {
            for ea in set {
                note.eas.retain(|there| there.name != ea.name);
                if !ea.value.is_empty() {
                    note.eas.push(ea);
                }
            }
        });
        self.tell(CHANGE_EA, Action::Modified);
        Ok(())
    }
}

/// Whether a list names attributes as they may be named.
pub(crate) fn check_names(bytes: &[u8]) -> Result<(), NtStatus> {
    full(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::check;

    fn entry(next: u32, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = next.to_le_bytes().to_vec();
        bytes.push(0);
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(name);
        bytes.push(0);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn a_list_of_extended_attributes_is_checked_entry_by_entry() {
        let one = entry(0, b"A", b"12");
        assert_eq!(check(&one), Ok(()));
        let mut two = entry(12, b"A", b"12");
        two.extend(&one);
        assert_eq!(check(&two), Ok(()));
        // Nothing, a name without its end, a value that is cut, a next one inside, beside a multiple of four, beyond.
        assert_eq!(check(&[]), Err(0));
        let mut open = one.clone();
        open[9] = b'B';
        assert_eq!(check(&open), Err(0));
        assert_eq!(check(&one[..11]), Err(0));
        for next in [8, 13, 40] {
            let mut bad = two.clone();
            bad[0] = next;
            assert!(check(&bad).is_err(), "{next}");
        }
        let mut second = two.clone();
        second[12 + 9] = b'B';
        assert_eq!(check(&second), Err(12));
    }
}
