//! The load configuration: what an image asks of its loader beyond its sections. Layout: IMAGE_LOAD_CONFIG_DIRECTORY64, winnt.h.

use super::Fact;
use super::check::Checked;
use super::guard;
use super::map::View;

/// Offsets of the fields; one counts where the directory says that it is at least so long as to hold it.
const SECURITY_COOKIE: u32 = 0x58;
const GUARD_CHECK: u32 = 0x70;
const GUARD_DISPATCH: u32 = 0x78;
const GUARD_TABLE: u32 = 0x80;
const GUARD_COUNT: u32 = 0x88;
const GUARD_FLAGS: u32 = 0x90;
const XFG_CHECK: u32 = 0x118;
const XFG_DISPATCH: u32 = 0x120;
const XFG_TABLE_DISPATCH: u32 = 0x128;

/// `IMAGE_GUARD_CF_INSTRUMENTED` and `IMAGE_GUARD_CF_FUNCTION_TABLE_PRESENT`.
const INSTRUMENTED: u32 = 0x100;
const TABLE_PRESENT: u32 = 0x400;
/// Bits of the flags that say how many bytes follow each RVA of the table.
const ENTRY_SHIFT: u32 = 28;

/// What the linker leaves in `__security_cookie` on x64.
const COOKIE_UNSET: u64 = 0x0000_2B99_2DDF_A232;

/// An image's load configuration. Addresses in it have been relocated.
pub(super) struct LoadConfig {
    rva: usize,
    length: u32,
    /// How many bytes of the image come from its file: no table is longer.
    filled: usize,
    /// The RVA of `__security_cookie`.
    pub(super) cookie: Option<usize>,
}

impl LoadConfig {
    pub(super) fn read(checked: &Checked<'_>, view: &View) -> Result<Self, Fact> {
        let (rva, length) = checked.load_config;
        let mut config = Self {
            rva: rva as usize,
            length,
            filled: checked.raw.iter().map(|(_, length)| length).sum(),
            cookie: None,
        };
        if length >= 4 {
            config.length = length.min(u32::from_le_bytes(view.read(config.rva)?));
        }
        config.cookie = config.address(view, SECURITY_COOKIE)?;
        Ok(config)
    }

    fn holds(&self, field: u32, bytes: u32) -> bool {
        field + bytes <= self.length
    }

    /// The RVA that a field's address stands for; `None`: there is no such field, or it is empty.
    fn address(&self, view: &View, field: u32) -> Result<Option<usize>, Fact> {
        if !self.holds(field, 8) {
            return Ok(None);
        }
        let address = u64::from_le_bytes(view.read(self.rva + field as usize)?);
        let rva = address.wrapping_sub(view.base as u64);
        Ok((address != 0).then(|| usize::try_from(rva).unwrap_or(usize::MAX)))
    }

    /// Does what it asks for; gives the RVAs that may be called indirectly, where they are told.
    pub(super) fn apply(&self, view: &mut View) -> Result<Option<Vec<u32>>, Fact> {
        self.set_cookie(view)?;
        let routines = [
            (GUARD_CHECK, guard::check()),
            (GUARD_DISPATCH, guard::dispatch()),
            (XFG_CHECK, guard::check()),
            (XFG_DISPATCH, guard::dispatch()),
            (XFG_TABLE_DISPATCH, guard::dispatch()),
        ];
        let flags = if self.holds(GUARD_FLAGS, 4) {
            u32::from_le_bytes(view.read(self.rva + GUARD_FLAGS as usize)?)
        } else {
            0
        };
        if flags & INSTRUMENTED == 0 {
            return Ok(None);
        }
        for (field, routine) in routines {
            if let Some(pointer) = self.address(view, field)? {
                view.write(pointer, &(routine as u64).to_le_bytes())?;
            }
        }
        if flags & TABLE_PRESENT == 0 {
            return Ok(None);
        }
        let Some(table) = self.address(view, GUARD_TABLE)? else {
            return Ok(None);
        };
        let count = u64::from_le_bytes(view.read(self.rva + GUARD_COUNT as usize)?);
        let entry = 4 + (flags >> ENTRY_SHIFT) as usize;
        let length = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(entry))
            .filter(|length| *length <= self.filled);
        let Some(length) = length else {
            return Err(Fact::Damaged(format!(
                "control-flow guard's table of {count:#x} functions"
            )));
        };
        let mut targets = Vec::with_capacity(length / entry);
        for offset in (0..length).step_by(entry) {
            let at = table.saturating_add(offset);
            targets.push(u32::from_le_bytes(view.read(at)?));
        }
        Ok(Some(targets))
    }

    /// Gives `__security_cookie` a value, as the loader does: 48 random bits. An image whose cookie is not the linker's own
    /// value is left alone.
    fn set_cookie(&self, view: &mut View) -> Result<(), Fact> {
        let Some(target) = self.cookie else {
            return Ok(());
        };
        if u64::from_le_bytes(view.read(target)?) == COOKIE_UNSET {
            let random =
                std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), view.base);
            view.write(target, &(random >> 16 | 1).to_le_bytes())?;
        }
        Ok(())
    }
}
