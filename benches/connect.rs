//! What SSH itself costs: connects to many addresses, logs in, runs `true` on each and closes. The benchmark of many
//! hosts sets `deploy` beside it. Arguments: key file, host key, connections at a time, then `address:port` …

use russh::ChannelMsg;
use russh::client::{self, Config, Handler};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Client(Arc<PublicKey>);

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(presented.public_key().key_data() == self.0.key_data())
    }
}

async fn visit(address: String, key: Arc<PrivateKey>, host_key: Arc<PublicKey>) -> Result<(), Failure> {
    let config = Arc::new(Config { nodelay: true, ..Config::default() });
    let mut session = client::connect(config, address, Client(host_key)).await?;
    if !session.authenticate_publickey("root", PrivateKeyWithHashAlg::new(key, None)).await?.success() {
        return Err("not let in".into());
    }
    let mut channel = session.channel_open_session().await?;
    channel.exec(true, "true").await?;
    let mut status = None;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
    }
    session.disconnect(russh::Disconnect::ByApplication, "", "").await?;
    if status == Some(0) { Ok(()) } else { Err(format!("`true` ended with {status:?}").into()) }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: connect KEY HOST_KEY AT_A_TIME ADDRESS:PORT…");
    let key = Arc::new(russh::keys::load_secret_key(next()?, None)?);
    let host_key = Arc::new(PublicKey::from_openssh(&next()?)?);
    let at_a_time = Arc::new(Semaphore::new(next()?.parse()?));
    let mut visits = JoinSet::new();
    for address in arguments {
        let (key, host_key, at_a_time) = (key.clone(), host_key.clone(), at_a_time.clone());
        visits.spawn(async move {
            let _place = at_a_time.acquire_owned().await?;
            visit(address, key, host_key).await
        });
    }
    let mut count = 0;
    while let Some(visited) = visits.join_next().await {
        visited??;
        count += 1;
    }
    println!("{count} connections");
    Ok(())
}
