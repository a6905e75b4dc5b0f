//! From characters to sections.
//!
//! The grammar is that of "General Syntax Rules for INF Files" in the Windows driver documentation: sections, entries with or without a
//! key, fields between commas, quotation marks (doubled for one of them), comments after `;`, lines that `\` continues, and string
//! tokens between `%`.

use crate::{
    document::{Entry, Field, Inf, Section, Tokens, same},
    error::{Error, ErrorKind, Position},
    text,
};

/// Longest field, without its terminating null.
const MOST_IN_FIELD: usize = 4095;
/// Longest section name.
const MOST_IN_NAME: usize = 255;

/// Reads an INF file.
///
/// # Errors
/// The bytes are no text, or the text does not follow the grammar; the error says where and what was expected.
pub fn parse(bytes: &[u8]) -> Result<Inf, Error> {
    let (text, encoding) = text::decode(bytes)?;
    let mut sections = Lexer::new(&text)?.sections()?;
    if sections.is_empty() {
        return Err(Error::new(Position::START, ErrorKind::NoSections));
    }

    let tokens = Tokens::of(&sections);
    let mut undefined_tokens = Vec::new();
    for section in &mut sections {
        // What [Strings] defines is not looked into.
        let is_strings = same(&section.name, "Strings")
            || section.name.to_ascii_lowercase().starts_with("strings.");
        for entry in &mut section.entries {
            for field in entry.key.iter_mut().chain(&mut entry.fields) {
                field.text = if is_strings {
                    field.raw.clone()
                } else {
                    let mut undefined = |name: &str| {
                        undefined_tokens.push((field.at, name.to_owned()));
                    };
                    tokens.replace(&field.raw, &mut undefined)
                };
            }
        }
    }
    Ok(Inf {
        encoding,
        sections,
        undefined_tokens,
    })
}

struct Lexer {
    /// The characters of each line.
    lines: Vec<Vec<char>>,
    line: usize,
    column: usize,
}

impl Lexer {
    fn new(text: &str) -> Result<Self, Error> {
        let lines: Vec<Vec<char>> = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line).chars().collect())
            .collect();
        for (line, characters) in lines.iter().enumerate() {
            for (column, &character) in characters.iter().enumerate() {
                // A control character, tabs and the old end of a file aside, is what another kind of file has.
                if character.is_control() && !matches!(character, '\t' | '\r' | '\x0c' | '\x1a') {
                    let at = Position {
                        line: line + 1,
                        column: column + 1,
                    };
                    return Err(Error::new(at, ErrorKind::Character(character.into())));
                }
            }
        }
        Ok(Self {
            lines,
            line: 0,
            column: 0,
        })
    }

    fn at(&self) -> Position {
        Position {
            line: self.line + 1,
            column: self.column + 1,
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.at(), kind)
    }

    /// The character here, none at the end of the line.
    fn peek(&self) -> Option<char> {
        self.lines.get(self.line)?.get(self.column).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.column += 1;
        Some(character)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.column += 1;
        }
    }

    /// What is left of the line, without a comment, and trimmed.
    fn rest(&self) -> String {
        let line = self.lines.get(self.line).map_or(&[][..], Vec::as_slice);
        let rest = line.get(self.column..).unwrap_or_default();
        let text: String = rest.iter().take_while(|c| **c != ';').collect();
        text.trim_matches(is_blank).to_owned()
    }

    fn sections(mut self) -> Result<Vec<Section>, Error> {
        let mut sections: Vec<Section> = Vec::new();
        let mut current = None;
        while self.line < self.lines.len() {
            self.column = 0;
            self.skip_blanks();
            match self.peek() {
                None | Some(';') => {}
                Some('[') => {
                    let at = self.at();
                    let name = self.section_name()?;
                    let known = sections.iter().position(|section| section.is(&name));
                    current = Some(known.unwrap_or_else(|| {
                        sections.push(Section {
                            name,
                            at,
                            entries: Vec::new(),
                        });
                        sections.len() - 1
                    }));
                }
                Some(_) => {
                    let Some(section) = current.and_then(|index: usize| sections.get_mut(index))
                    else {
                        return Err(self.error(ErrorKind::EntryOutsideSection));
                    };
                    let entry = self.entry()?;
                    section.entries.push(entry);
                }
            }
            self.line += 1;
        }
        Ok(sections)
    }

    fn section_name(&mut self) -> Result<String, Error> {
        self.column += 1;
        let start = self.column;
        let mut name = String::new();
        loop {
            match self.next() {
                Some(']') => break,
                Some(character) => name.push(character),
                None => return Err(self.error(ErrorKind::UnclosedSection)),
            }
        }
        let name = name.trim_matches(is_blank).to_owned();
        let length = name.chars().count();
        let kind = if name.is_empty() {
            Some(ErrorKind::EmptySectionName)
        } else if length > MOST_IN_NAME {
            Some(ErrorKind::SectionNameTooLong(length))
        } else {
            None
        };
        if let Some(kind) = kind {
            self.column = start;
            return Err(self.error(kind));
        }
        self.skip_blanks();
        let after = self.rest();
        if after.is_empty() {
            Ok(name)
        } else {
            Err(self.error(ErrorKind::AfterSection(after)))
        }
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let at = self.at();
        let mut key = None;
        let mut fields = Vec::new();
        loop {
            let (field, end) = self.field(key.is_none() && fields.is_empty())?;
            match end {
                End::Equals => key = Some(field),
                End::Comma => fields.push(field),
                End::Line => {
                    fields.push(field);
                    return Ok(Entry { key, fields, at });
                }
            }
        }
    }

    /// Reads up to a comma, the end of the entry, or, where a key may stand, to `=`.
    fn field(&mut self, may_be_key: bool) -> Result<(Field, End), Error> {
        self.skip_blanks();
        let mut at = self.at();
        let mut raw = String::new();
        // Blanks at the end are cut off, but not those in quotation marks.
        let mut keep = 0;
        let end = loop {
            let here = self.at();
            match self.next() {
                None | Some(';') => break End::Line,
                Some(',') => break End::Comma,
                Some('=') if may_be_key => break End::Equals,
                Some('"') => {
                    self.quoted(here, &mut raw)?;
                    keep = raw.len();
                }
                Some('\\') if self.continues() => {
                    if self.line + 1 >= self.lines.len() {
                        return Err(Error::new(here, ErrorKind::ContinuedNowhere));
                    }
                    self.line += 1;
                    self.column = 0;
                    self.skip_blanks();
                    if raw.is_empty() {
                        at = self.at();
                    }
                }
                Some(character) => {
                    raw.push(character);
                    if !is_blank(character) {
                        keep = raw.len();
                    }
                }
            }
        };
        raw.truncate(keep);
        let length = raw.chars().count();
        if length > MOST_IN_FIELD {
            return Err(Error::new(at, ErrorKind::FieldTooLong(length)));
        }
        let text = String::new();
        Ok((Field { raw, text, at }, end))
    }

    /// Reads to the closing quotation mark.
    fn quoted(&mut self, opened: Position, raw: &mut String) -> Result<(), Error> {
        loop {
            match self.next() {
                Some('"') if self.peek() == Some('"') => {
                    self.column += 1;
                    raw.push('"');
                }
                Some('"') => return Ok(()),
                Some(character) => raw.push(character),
                None => return Err(Error::new(opened, ErrorKind::UnclosedQuotation)),
            }
        }
    }

    /// Whether the backslash just read is at the end of its line, other backslashes and a comment aside.
    fn continues(&self) -> bool {
        self.rest()
            .chars()
            .all(|character| character == '\\' || is_blank(character))
    }
}

/// What ended a field.
enum End {
    Equals,
    Comma,
    Line,
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\x0c' | '\x1a')
}
