//! Prompts of our own, in the program itself: one binary is enough. `scripts/make-prompts.sh` makes the files.

use std::sync::{Arc, LazyLock};

use super::{Part, Prompt, Sound};

/// What is said, in English.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spoken {
    /// There is no such user here. Please check the address, and call again.
    NoSuchUser,
    /// The number you have dialled is not in service.
    NotInService,
    /// Your call can not be put through.
    CallRefused,
    /// Please leave a message after the tone.
    LeaveMessage,
    /// You have no messages.
    NoMessages,
}

/// Read once, at the first use.
static PROMPTS: LazyLock<[Arc<Prompt>; 5]> = LazyLock::new(|| {
    Spoken::ALL.map(|spoken| Arc::new(Prompt::from_wav(spoken.file()).expect("a test reads each of our files")))
});

impl Spoken {
    pub const ALL: [Spoken; 5] =
        [Spoken::NoSuchUser, Spoken::NotInService, Spoken::CallRefused, Spoken::LeaveMessage, Spoken::NoMessages];

    fn file(self) -> &'static [u8] {
        match self {
            Spoken::NoSuchUser => include_bytes!("../../prompts/en/no_such_user.wav"),
            Spoken::NotInService => include_bytes!("../../prompts/en/not_in_service.wav"),
            Spoken::CallRefused => include_bytes!("../../prompts/en/call_refused.wav"),
            Spoken::LeaveMessage => include_bytes!("../../prompts/en/leave_message.wav"),
            Spoken::NoMessages => include_bytes!("../../prompts/en/no_messages.wav"),
        }
    }

    pub fn prompt(self) -> Arc<Prompt> {
        PROMPTS[self as usize].clone()
    }

    /// The prompt, once.
    pub fn sound(self) -> Sound {
        Sound::once(vec![Part::Prompt(self.prompt())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{Voice, VoiceCodec};
    use std::time::Duration;

    #[test]
    fn each_of_our_prompts_is_speech_of_a_few_seconds_that_does_not_clip() {
        for spoken in Spoken::ALL {
            let prompt = spoken.prompt();
            let seconds = prompt.length().as_secs_f32();
            assert!((1.0..8.0).contains(&seconds), "{spoken:?}: {seconds} s");
            let samples = prompt.samples(false);
            let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
            assert!((10_000..30_000).contains(&peak), "{spoken:?}: {peak}");
            let end = &samples[samples.len() - 1600..];
            assert!(end.iter().all(|s| s.unsigned_abs() < 200), "{spoken:?} ends in quiet");
        }
        assert_ne!(Spoken::NoSuchUser.prompt(), Spoken::NotInService.prompt());
    }

    #[test]
    fn a_prompt_is_as_long_in_each_codec_as_its_file() {
        for codec in [VoiceCodec::Pcmu, VoiceCodec::Pcma, VoiceCodec::G722] {
            let mut voice = Voice::new(Arc::new(Spoken::CallRefused.sound()), codec);
            let mut frame = [0; Voice::OCTETS];
            let frames = std::iter::from_fn(|| voice.frame(&mut frame).then_some(())).count();
            let length = Spoken::CallRefused.prompt().length();
            let played = Voice::LENGTH * u32::try_from(frames).expect("a few");
            assert!(
                played >= length && played < length + Duration::from_millis(20),
                "{codec:?}: {played:?} {length:?}"
            );
        }
    }
}
