//! What the Headroom driver left in memory: records, watermarks, settings.

use protocol::{
    Anchor, CONFIG_SIGNATURE, Config, DecodeError, MARKS_SIGNATURE, MAXIMUM_LOG_CAPACITY, Record,
    SIGNATURE, SlotView, Watermarks, find_configs,
};

use crate::memory::{Dump, PAGE};
use crate::module::Module;

/// No driver that has an anchor is larger.
const LARGEST: u64 = 16 << 20;

/// What the driver left.
#[derive(Debug)]
pub struct Driver {
    /// Its module, where one holds the anchor.
    pub module: Option<String>,
    /// Where the records are, and how many were lost.
    pub anchor: Anchor,
    /// The records that are whole, by sequence.
    pub records: Vec<Record>,
    /// Records of creates that were under way, by sequence: what stands in them until then.
    pub unfinished: Vec<Record>,
    /// Slots that are not in the dump.
    pub missing: u64,
    /// The watermarks, where they are in the dump.
    pub watermarks: Option<Watermarks>,
    /// The settings.
    pub config: Option<Config>,
}

/// Finds the driver: by the signatures in a module's image, else by a search of all memory, where the list of modules is
/// not `whole`.
pub(crate) fn find(
    dump: &Dump,
    modules: &[Module],
    whole: bool,
    notes: &mut Vec<String>,
) -> Option<Driver> {
    let mut misread = None;
    // The one of that name first; it may be called anything.
    let (own, others): (Vec<_>, Vec<_>) = modules
        .iter()
        .partition(|module| module.name.starts_with("headroom"));
    for module in own
        .into_iter()
        .chain(others)
        .filter(|module| module.size <= LARGEST)
    {
        let mut image = vec![0; usize::try_from(module.size).ok()?];
        dump.read_into(module.base, &mut image);
        match anchor(&image) {
            Ok(Some(anchor)) => {
                return Some(read(dump, Some(module.name.clone()), anchor, &image, notes));
            }
            Ok(None) => {}
            Err(error) => misread = misread.or(Some((module.name.clone(), error))),
        }
    }
    if let Some((module, error)) = misread {
        notes.push(format!("{module}: {error}"));
        return None;
    }
    if whole {
        return None;
    }
    // An anchor that crosses pages is missed: what is behind it in physical memory may be anything.
    for page in dump.physical_pages() {
        if let Ok(Some(anchor)) = anchor(&page) {
            notes.push(
                "the driver was found by its signature alone: no module in the list holds it"
                    .to_owned(),
            );
            let watermarks = protocol::find_watermarks(&page)
                .next()
                .map(|(_, marks)| marks);
            let mut driver = read(dump, None, anchor, &page, notes);
            driver.watermarks = watermarks;
            return Some(driver);
        }
    }
    None
}

/// The offsets at which a signature stands where the driver's statics may.
fn places<'a>(bytes: &'a [u8], signature: &'a [u8; 16]) -> impl Iterator<Item = usize> + 'a {
    (0..bytes.len())
        .step_by(8)
        .filter(move |at| bytes.get(*at..at + 16) == Some(signature))
}

/// The anchor in these bytes. An error: there is one, of another version.
fn anchor(bytes: &[u8]) -> Result<Option<Anchor>, DecodeError> {
    let mut wrong = None;
    for at in places(bytes, &SIGNATURE) {
        match Anchor::decode(bytes.get(at..).unwrap_or_default()) {
            Ok(anchor) => return Ok(Some(anchor)),
            // The signature's own constant has anything behind it; a version is a small number.
            Err(
                error @ DecodeError::Version {
                    found: 1..=0xFF, ..
                },
            ) if at % 64 == 0 => wrong = Some(error),
            Err(_) => {}
        }
    }
    wrong.map_or(Ok(None), Err)
}

fn read(
    dump: &Dump,
    module: Option<String>,
    anchor: Anchor,
    image: &[u8],
    notes: &mut Vec<String>,
) -> Driver {
    let mut driver = Driver {
        module,
        anchor,
        records: Vec::new(),
        unfinished: Vec::new(),
        missing: 0,
        watermarks: None,
        config: None,
    };
    driver.watermarks =
        places(image, &MARKS_SIGNATURE).find_map(|at| Watermarks::decode(image.get(at..)?).ok());
    let settings = places(image, &CONFIG_SIGNATURE)
        .find_map(|at| find_configs(image.get(at..at + PAGE as usize).or(image.get(at..))?).next());
    driver.config = settings.map(|(_, config)| config);
    driver.records(dump, notes);
    driver
}

impl Driver {
    fn records(&mut self, dump: &Dump, notes: &mut Vec<String>) {
        let Anchor {
            ring,
            capacity,
            slot_bytes,
            ..
        } = self.anchor;
        if ring == 0 {
            notes.push("the driver had no ring of records when the machine stopped".to_owned());
            return;
        }
        if capacity > u64::from(MAXIMUM_LOG_CAPACITY) || self.anchor.ring_bytes().is_none() {
            notes.push(format!(
                "the ring of records is damaged: it claims {capacity} slots at {ring:#x}"
            ));
            return;
        }
        let mut slot = vec![0; slot_bytes as usize];
        for index in 0..capacity {
            if !dump.read_at(ring + index * u64::from(slot_bytes), &mut slot) {
                self.missing += 1;
                continue;
            }
            let Ok(view) = SlotView::decode(&slot) else {
                continue;
            };
            match view.whole() {
                Some(record) => self.records.push(*record),
                None if view.phase == protocol::Phase::Writing
                    && view.record.sequence == view.sequence =>
                {
                    self.unfinished.push(view.record);
                }
                None => {}
            }
        }
        self.records.sort_by_key(|record| record.sequence);
        self.unfinished.sort_by_key(|record| record.sequence);
        if self.missing > 0 {
            notes.push(format!(
                "{} of {capacity} slots of the ring are not in the dump",
                self.missing
            ));
        }
    }
}
