//! The command line of `ringfort stir`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

#[derive(Debug, Args)]
pub struct StirArgs {
    #[command(subcommand)]
    pub command: StirCommand,
}

#[derive(Debug, Subcommand)]
pub enum StirCommand {
    /// Print what a PASSporT or an Identity header field says, believed or not
    Show {
        /// header.payload.signature, or the value of an Identity header field; `-` reads it from standard input
        value: String,
        /// Print an object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Verify a call as the system would (exit status: 0 passed, 1 failed, 2 nothing to validate)
    Verify(VerifyArgs),
    /// Sign a call and print the value of its Identity header field
    Sign(SignArgs),
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The value of an Identity header field; again for each
    #[arg(long, value_name = "VALUE")]
    pub identity: Vec<String>,
    /// Who calls: the value of From (or of P-Asserted-Identity), an address or a number
    #[arg(long, value_name = "ADDRESS")]
    pub from: String,
    /// Who is called: the value of To, an address or a number
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// Where the request goes [default: the address of --to]
    #[arg(long, value_name = "URI")]
    pub request_uri: Option<String>,
    /// The value of Date
    #[arg(long, value_name = "VALUE")]
    pub date: Option<String>,
    /// Certificates of the authorities to believe, in PEM form
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trust: PathBuf,
    /// The signer's certificate and those above it; without it they are fetched from `info`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Authorities of the web server to fetch from [default: those that browsers trust]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub web_ca: Option<PathBuf>,
    /// Fetch from loopback and private addresses too
    #[arg(long)]
    pub allow_private: bool,
    /// How far Date and iat may be off
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub freshness: u64,
    /// As if it were this moment, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<u64>,
    /// Print an object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SignArgs {
    /// The private key on P-256, in PEM form
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// Where others fetch the certificate, by https
    #[arg(long, value_name = "URL", value_parser = https)]
    pub info: String,
    /// The certificate: with it the key, the validity and the authority over the number are checked before signing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Who calls: an address or a number
    #[arg(long, value_name = "ADDRESS")]
    pub from: String,
    /// Who is called: an address or a number
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// What is known of the caller; without it a PASSporT of the base type is made
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub attest: Option<Attest>,
    /// By which the call's source is found again [default: a new UUID]
    #[arg(long, value_name = "UUID", requires = "attest")]
    pub origid: Option<String>,
    /// As if it were this moment, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<u64>,
    /// Print an object instead of the value
    #[arg(long)]
    pub json: bool,
}

/// RFC 8226 §7 leaves the scheme open; whoever verifies takes nothing that can be changed on the way.
fn https(text: &str) -> Result<String, String> {
    let is_https = text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) && text.len() > 8;
    if is_https {
        Ok(text.to_owned())
    } else {
        Err("expected an https URL such as https://example.com/sp.pem".to_owned())
    }
}

/// RFC 8588 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attest {
    /// Full: customer and number are known
    #[value(name = "A")]
    A,
    /// Partial: the customer is known
    #[value(name = "B")]
    B,
    /// Gateway
    #[value(name = "C")]
    C,
}
