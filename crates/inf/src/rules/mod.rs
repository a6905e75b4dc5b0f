//! What InfVerif says of an INF, by its documentation.
//!
//! The numbers are those of "INF Validation Errors and Warnings"; what the pages on primitive drivers and minifilters demand, and InfVerif
//! has no published number for, bears the page's name. This is no substitute for InfVerif: it knows the published rules alone, of which
//! those for device drivers (Manufacturer and Models sections) are reduced to the one that a minifilter has no such section.
//!
//! Which rules hold depends on the Windows that a section is for, as "InfVerif /h" explains: a section is held to the rules of the newest
//! Windows that would use it. Up to build 25951 what that page lists as exceptions is allowed; from build 25952 on [`Mode::Windows`]
//! (`/w`) demands an isolated package, and [`Mode::Signature`] (`/h`) still allows the exceptions.

mod files;
mod legacy;
mod minifilter;
mod registry;
mod sections;
mod version;

use std::fmt;

use crate::{
    decoration::{Decoration, OsVersion, install_sections},
    document::{Inf, Section},
    error::Position,
};

/// The first Windows on which a minifilter's package is isolated: Windows 11, version 24H2, as Microsoft's samples decorate it.
pub(crate) const ISOLATED: OsVersion = OsVersion::build(25_952);

/// Which of InfVerif's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `/w`: a Windows Driver, isolated in full where the Windows is new enough.
    Windows,
    /// `/h`: what a signature from the Hardware Dev Center takes.
    Signature,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Often a sign of something else.
    Warning,
    /// To be mended.
    Error,
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One that InfVerif's documentation numbers.
    Number(u16),
    /// One that a page of the driver documentation states.
    Page(&'static str),
}

/// The page on the section that says what to install.
const DEFAULT_INSTALL: Rule = Rule::Page("INF DefaultInstall Section");
/// The page on what an INF without devices may hold.
const PRIMITIVE: Rule = Rule::Page("Creating a primitive driver");
/// The page on a minifilter's INF.
const MINIFILTER: Rule = Rule::Page("Creating an INF file for a minifilter driver");
/// The page on altitudes.
const ALTITUDES: Rule = Rule::Page("Load order groups and altitudes");

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Page(page) => write!(f, "\"{page}\""),
        }
    }
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub rule: Rule,
    /// How bad that is.
    pub severity: Severity,
    /// Where.
    pub at: Position,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity} {}: {}", self.at, self.rule, self.message)
    }
}

/// Everything that is wrong with an INF, in the order of the file.
#[must_use]
pub fn check(inf: &Inf, mode: Mode) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    version::check(inf, &mut findings);
    sections::check(inf, &mut findings);
    for install in installs(inf, mode) {
        legacy::check(inf, &install, &mut findings);
        files::check(inf, &install, &mut findings);
        registry::check(inf, &install, &mut findings);
        minifilter::check(inf, &install, &mut findings);
    }
    files::conflicts(inf, &mut findings);
    let mut findings = findings.0;
    findings.sort_by_key(|finding| finding.at);
    findings.dedup();
    findings
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, severity: Severity, at: Position, message: String) {
        self.0.push(Finding {
            rule,
            severity,
            at,
            message,
        });
    }

    fn error(&mut self, number: u16, at: Position, message: String) {
        self.add(Rule::Number(number), Severity::Error, at, message);
    }

    fn warning(&mut self, number: u16, at: Position, message: String) {
        self.add(Rule::Number(number), Severity::Warning, at, message);
    }

    fn page(&mut self, page: Rule, at: Position, message: String) {
        self.add(page, Severity::Error, at, message);
    }
}

/// An install section, and the rules that it is held to.
struct Install<'a> {
    section: &'a Section,
    decoration: Decoration,
    /// The newest Windows that would use it.
    newest: OsVersion,
    /// Whether it has to be isolated, with no exception.
    isolated: bool,
}

/// The install sections, each with the newest Windows that has no better one.
fn installs(inf: &Inf, mode: Mode) -> Vec<Install<'_>> {
    let all: Vec<_> = install_sections(inf, "DefaultInstall").collect();
    let newest = |own: &Decoration| {
        let better = all
            .iter()
            .filter(|(_, other)| {
                other.architecture == own.architecture && other.version > own.version
            })
            .map(|(_, other)| other.version)
            .min();
        better.map_or(OsVersion::build(u32::MAX), |version| OsVersion {
            build: version.build.saturating_sub(1),
            ..version
        })
    };
    all.iter()
        .map(|(section, decoration)| {
            let newest = newest(decoration);
            Install {
                section,
                decoration: *decoration,
                newest,
                isolated: mode == Mode::Windows && newest >= ISOLATED,
            }
        })
        .collect()
}

impl<'a> Install<'a> {
    /// The service-install sections that AddService names, with the service's name.
    fn services(&self, inf: &'a Inf) -> Vec<(&'a str, &'a Section)> {
        let list = format!("{}.Services", self.section.name);
        inf.section(&list)
            .into_iter()
            .flat_map(|section| section.directives("AddService"))
            .filter_map(|entry| Some((entry.text(0), inf.section(&entry.field(2)?.text)?)))
            .collect()
    }
}

/// The sections that a directive of `section` names.
fn referred<'a>(inf: &'a Inf, section: &'a Section, directive: &'a str) -> Vec<&'a Section> {
    section
        .directives(directive)
        .flat_map(|entry| &entry.fields)
        .filter_map(|field| inf.section(&field.text))
        .collect()
}
