#!/bin/sh
# Makes the spoken prompts in crates/media/prompts: espeak-ng speaks, sox brings it to 8 kHz, 16 bit, mono, cuts the silence
# at both ends and sets the level that speech has on a telephone line (about -20 dBFS; peaks below -3).
# Needs espeak-ng and sox. The files are committed; run this after a change of the words and listen to them.
set -eu

cd "$(dirname "$0")/../crates/media/prompts"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() {
    language=$1
    voice=$2
    name=$3
    words=$4
    mkdir -p "$language"
    espeak-ng -v "$voice" -s 150 -p 45 -w "$work/spoken.wav" "$words"
    # What a telephone cannot carry goes before the rate does; -D: no dither, so that each run makes the same bytes.
    sox -D "$work/spoken.wav" -b 16 -c 1 -r 8000 "$work/line.wav" \
        highpass 200 lowpass 3400 norm -4 \
        silence 1 0.01 0.5% fade t 0.01 reverse silence 1 0.01 0.5% fade t 0.02 reverse
    sox -D "$work/line.wav" -b 16 "$language/$name.wav" pad 0.1 0.3 gain -2
    printf '%s/%s.wav: %s s\n' "$language" "$name" "$(soxi -D "$language/$name.wav")"
}

say en en-gb no_such_user "There is no such user here. Please check the address, and call again."
say en en-gb not_in_service "The number you have dialled is not in service."
say en en-gb call_refused "Your call can not be put through."
say en en-gb leave_message "Please leave a message after the tone."
say en en-gb no_messages "You have no messages."
