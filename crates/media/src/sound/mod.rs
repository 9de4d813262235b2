//! Sounds that we make: tones by country, prompts from WAV files, silence, one after another. A [`Sound`] is data; a
//! [`Voice`] turns it into frames of a codec. Called by the packet path, which plays them into a stream.

mod prompt;
mod spoken;
mod tones;
mod voice;
mod wav;

use std::sync::Arc;
use std::time::Duration;

pub use prompt::{Prompt, PromptError};
pub use spoken::Spoken;
pub use tones::{Country, Signal};
pub use voice::{Voice, VoiceCodec};
pub use wav::wav;

/// One to three sines together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// Hz; 0 where there is none.
    pub frequencies: [u16; 3],
    /// Level of each sine, dBm0 (0 is 3.17 dB below full scale, ITU-T G.711 §5).
    pub level: i8,
}

impl Tone {
    /// A single sine at the usual level of a signalling tone.
    pub const fn single(hertz: u16) -> Self {
        Self { frequencies: [hertz, 0, 0], level: -13 }
    }

    /// Two sines.
    pub const fn dual(first: u16, second: u16) -> Self {
        Self { frequencies: [first, second, 0], level: -16 }
    }
}

/// A piece of a sound.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Silence(Duration),
    Tone(Tone, Duration),
    Prompt(Arc<Prompt>),
}

/// What is to be heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sound {
    pub parts: Vec<Part>,
    /// From the beginning again, until it is stopped or `longest` is over. Without any length it ends at once all the same.
    pub repeat: bool,
    pub longest: Option<Duration>,
}

impl Sound {
    /// These, once.
    pub fn once(parts: Vec<Part>) -> Self {
        Self { parts, repeat: false, longest: None }
    }

    /// These again and again.
    pub fn repeated(parts: Vec<Part>) -> Self {
        Self { parts, repeat: true, longest: None }
    }

    /// How long it is heard; `None`: until it is stopped.
    pub fn length(&self) -> Option<Duration> {
        let part = |part: &Part| match part {
            Part::Silence(length) | Part::Tone(_, length) => *length,
            Part::Prompt(prompt) => prompt.length(),
        };
        let once = self.parts.iter().map(part).sum();
        match self.longest {
            Some(longest) if self.repeat => Some(longest),
            Some(longest) => Some(longest.min(once)),
            None => (!self.repeat).then_some(once),
        }
    }

    pub fn at_most(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// A quiet moment, a beep, a quiet moment: what says that a feature code was taken.
    pub fn confirmation() -> Self {
        const PAUSE: Duration = Duration::from_millis(200);
        let beep = Part::Tone(Tone::single(1000), Duration::from_millis(300));
        Self::once(vec![Part::Silence(PAUSE), beep, Part::Silence(PAUSE)])
    }

    /// The same with two low beeps: it was not.
    pub fn refusal() -> Self {
        const PAUSE: Duration = Duration::from_millis(200);
        let beep = || Part::Tone(Tone::single(400), Duration::from_millis(250));
        Self::once(vec![Part::Silence(PAUSE), beep(), Part::Silence(PAUSE), beep(), Part::Silence(PAUSE)])
    }
}
