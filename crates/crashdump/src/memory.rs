//! The dump as memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use kdmp_parser::gxa::{Gpa, Gva};
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::{phys, virt};

use crate::bytes;
use crate::error::Error;
use crate::kernel::Header;
use crate::preflight::{self, Fault};

pub(crate) const PAGE: u64 = 0x1000;
/// Pages kept in memory.
const KEPT: usize = 4096;

type Page = Rc<[u8]>;

/// An opened dump.
pub struct Dump {
    parser: KernelDumpParser,
    header: Header,
    kept: RefCell<HashMap<u64, Option<Page>>>,
}

impl std::fmt::Debug for Dump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Dump {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error`]: what it is instead, or what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |error| Error::File {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        Self::read(file, length, path)
    }

    /// Reads a dump of `length` bytes; `path` is for its errors.
    ///
    /// # Errors
    /// [`Error`]: what it is instead, or what is wrong with it.
    pub fn read(
        mut file: impl Read + Seek + 'static,
        length: u64,
        path: &Path,
    ) -> Result<Self, Error> {
        let path = path.to_owned();
        let (header, kind) = match preflight::check(&mut file, length) {
            Ok(sound) => sound,
            Err(fault) => {
                return Err(match fault {
                    Fault::Io(error) => Error::File { path, error },
                    Fault::Foreign(what) => Error::Foreign { path, what },
                    Fault::Truncated { expected } => Error::Truncated {
                        path,
                        expected,
                        found: length,
                    },
                    Fault::Damaged(what) => Error::Damaged { path, what },
                });
            }
        };
        let parsed = Header::parse(&header, kind);
        let reader = Quiet::new(file, header);
        match KernelDumpParser::with_reader(reader) {
            Ok(parser) => Ok(Self {
                parser,
                header: parsed,
                kept: RefCell::default(),
            }),
            Err(error) => Err(Error::Damaged {
                path,
                what: error.to_string(),
            }),
        }
    }

    /// What the header says.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// How many pages it has.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.parser.physmem().len() as u64
    }

    /// The page that holds a virtual address, where it is in the dump.
    fn page(&self, address: u64) -> Option<Page> {
        let start = address & !(PAGE - 1);
        let mut kept = self.kept.borrow_mut();
        if let Some(page) = kept.get(&start) {
            return page.clone();
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let page = self.fetch(start);
        kept.insert(start, page.clone());
        page
    }

    fn fetch(&self, start: u64) -> Option<Page> {
        // Addresses that the processor refuses.
        if !matches!(start >> 47, 0 | 0x1_FFFF) {
            return None;
        }
        let reader = virt::Reader::with_dtb(&self.parser, Gpa::from(self.header.directory_table));
        let place = reader.translate(Gva::from(start)).ok()?;
        self.physical(place.gpa())
    }

    fn physical(&self, place: Gpa) -> Option<Page> {
        let mut bytes = vec![0; PAGE as usize];
        phys::Reader::new(&self.parser)
            .read_exact(place, &mut bytes)
            .ok()?;
        Some(bytes.into())
    }

    /// Every physical page.
    pub(crate) fn physical_pages(&self) -> impl Iterator<Item = Page> + '_ {
        self.parser
            .physmem()
            .filter_map(|(place, _)| self.physical(place))
    }

    /// Whether a virtual address is in it.
    #[must_use]
    pub fn holds(&self, address: u64) -> bool {
        self.page(address).is_some()
    }

    /// Fills `buffer` from a virtual address; false: not all of it is in the dump.
    #[must_use]
    pub fn read_at(&self, address: u64, buffer: &mut [u8]) -> bool {
        self.read_into(address, buffer) == buffer.len()
    }

    /// As [`Self::read_at`]; what is missing stays as it was. Gives the number of bytes read.
    pub(crate) fn read_into(&self, address: u64, buffer: &mut [u8]) -> usize {
        let (mut at, mut rest, mut read) = (address, buffer, 0);
        while !rest.is_empty() {
            let offset = (at & (PAGE - 1)) as usize;
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE as usize - offset));
            if let Some(bytes) = self
                .page(at)
                .as_deref()
                .and_then(|page| page.get(offset..offset + now.len()))
            {
                now.copy_from_slice(bytes);
                read += now.len();
            }
            let Some(next) = at.checked_add(now.len() as u64) else {
                break;
            };
            at = next;
            rest = later;
        }
        read
    }

    /// A word.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read_at(address, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }

    /// Bytes; `None` where not all are in the dump.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(address, &mut bytes).then_some(bytes)
    }

    /// A `UNICODE_STRING` at an address, of at most 1024 units.
    pub(crate) fn unicode_string(&self, address: u64) -> Option<String> {
        let header = self.bytes(address, 16)?;
        let length = usize::from(bytes::u16(&header, 0)?).min(2048);
        let text = self.bytes(bytes::u64(&header, 8)?, length)?;
        let units: Vec<u16> = text
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        Some(String::from_utf16_lossy(&units))
    }
}

/// The file as the parser sees it: with a header that leads to none of the system's lists.
///
/// On opening, the parser walks the lists of modules and processors without a bound, which in a damaged dump may not end.
/// They are walked here, with one.
struct Quiet<F> {
    file: F,
    header: Cursor<Vec<u8>>,
    position: u64,
}

impl<F: Read + Seek> Quiet<F> {
    fn new(file: F, mut header: Vec<u8>) -> Self {
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = header.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        // DirectoryTableBase, where no page is; the lists' heads; NumberProcessors; KdDebuggerDataBlock.
        put(0x10, &0x000F_FFFF_FFFF_F000_u64.to_le_bytes());
        put(0x20, &[0; 16]);
        put(0x34, &[0; 4]);
        put(0x80, &[0; 8]);
        Self {
            file,
            header: Cursor::new(header),
            position: 0,
        }
    }
}

impl<F: Read + Seek> Read for Quiet<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.header.get_ref().len() as u64;
        let read = if self.position < length {
            self.header.set_position(self.position);
            self.header.read(buffer)?
        } else {
            self.file.seek(SeekFrom::Start(self.position))?;
            self.file.read(buffer)?
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<F: Read + Seek> Seek for Quiet<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(by) => self
                .position
                .checked_add_signed(by)
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?,
            SeekFrom::End(_) => self.file.seek(to)?,
        };
        Ok(self.position)
    }
}
