//! The reports of a scan, written to their files and to standard output while it goes on.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::{CommandError, Options};
use crate::output::{Format, Subject, Writer};
use crate::policy::Catalogue;
use crate::scan::Report;

struct Output<'o> {
    /// For the words of errors; `None`: standard output.
    path: Option<String>,
    writer: Writer,
    out: BufWriter<Box<dyn Write + 'o>>,
    colour: bool,
    links: bool,
}

/// All reports that are asked for.
pub(super) struct Reports<'o> {
    outputs: Vec<Output<'o>>,
    /// Where relative paths begin, for links.
    folder: Option<PathBuf>,
    time: &'o str,
    /// The first that could not be written.
    error: Option<CommandError>,
}

impl<'o> Reports<'o> {
    /// Makes the files, so that what cannot be written is said before anything is scanned.
    pub(super) fn open(options: &'o Options, stdout: &'o mut dyn Write) -> Result<Self, CommandError> {
        let mut stdout = Some(stdout);
        let table = [(Format::Table, None)];
        let wanted = if options.outputs.is_empty() { &table[..] } else { &options.outputs };
        let mut outputs = Vec::new();
        for (format, file) in wanted {
            let (path, out): (_, Box<dyn Write + 'o>) = match file {
                Some(path) => {
                    let path_text = path.display().to_string();
                    match fs::File::create(path) {
                        Ok(file) => (Some(path_text), Box::new(file)),
                        Err(error) => return Err(CommandError::File { path: path_text, error }),
                    }
                }
                None => {
                    let out = stdout.take().expect("at most one format goes to standard output");
                    (None, Box::new(UntilGone { out, gone: false }))
                }
            };
            let (colour, links) = (options.colour && path.is_none(), options.links && path.is_none());
            outputs.push(Output {
                path,
                writer: Writer::new(*format),
                out: BufWriter::with_capacity(1 << 16, out),
                colour,
                links,
            });
        }
        let folder = std::env::current_dir().ok().filter(|_| options.links);
        Ok(Self { outputs, folder, time: &options.time, error: None })
    }

    /// Writes what the report has gained.
    pub(super) fn more(&mut self, report: &Report, catalogue: &Catalogue) {
        for output in &mut self.outputs {
            let links = self.folder.as_deref().filter(|_| output.links);
            let subject = Subject { report, catalogue, colour: output.colour, links, time: self.time };
            // A terminal or a pipe is to see it now.
            let flush = output.path.is_none();
            let done = output.writer.more(&subject, &mut output.out);
            let done = if flush { done.and_then(|()| output.out.flush()) } else { done };
            if let Err(error) = done {
                let error = because(output.path.as_deref(), error);
                self.error.get_or_insert(error);
                return;
            }
        }
    }

    /// Writes the rest.
    pub(super) fn end(self, report: &Report, catalogue: &Catalogue) -> Result<(), CommandError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        for Output { path, writer, mut out, colour, links } in self.outputs {
            let links = self.folder.as_deref().filter(|_| links);
            let subject = Subject { report, catalogue, colour, links, time: self.time };
            let done = writer.end(&subject, &mut out).and_then(|()| out.flush());
            done.map_err(|error| because(path.as_deref(), error))?;
        }
        Ok(())
    }
}

fn because(path: Option<&str>, error: io::Error) -> CommandError {
    match path {
        Some(path) => CommandError::File { path: path.to_owned(), error },
        None => CommandError::Output(error),
    }
}

/// A reader that went away (`| head`) has what it wanted; what comes then goes nowhere.
pub(super) struct UntilGone<'o> {
    pub(super) out: &'o mut dyn Write,
    pub(super) gone: bool,
}

impl UntilGone<'_> {
    fn unless_gone<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl Write for UntilGone<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone {
            return Ok(bytes.len());
        }
        let result = self.out.write(bytes);
        self.unless_gone(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let result = self.out.flush();
        self.unless_gone(result, ())
    }
}
