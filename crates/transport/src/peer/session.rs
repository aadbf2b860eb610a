//! A connection in use: two streams out, up to two in, until it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use shardpay_types::NodeId;
use tokio::task::JoinSet;

use super::link::Link;
use super::{Net, StreamClass};
use crate::error::FrameError;
use crate::frame::{Budget, FrameReader};
use crate::refusal::{CloseCode, TransportRefusal};
use crate::writer::write_queue;

/// Uses `connection`, dialled by `dialled_by`, until it is lost, unless there is a better one; whether it
/// was used.
pub(crate) async fn run(net: Arc<Net>, link: Arc<Link>, connection: Connection, dialled_by: NodeId) -> bool {
    if !link.replace(&connection, dialled_by) {
        net.refuse(TransportRefusal::Duplicate, connection.remote_address());
        connection.close(CloseCode::DUPLICATE.varint(), b"another connection stays");
        return false;
    }
    // the session before this one has been closed and ends first
    let slot = link.slot.lock().await;
    let opened = tokio::time::timeout(net.config.handshake_timeout, open(&connection, dialled_by != link.node)).await;
    let was_up = match opened {
        Ok(Ok((streams, first))) if connection.close_reason().is_none() => {
            let session = Session::new(Arc::clone(&net), Arc::clone(&link), connection.clone());
            session.serve(streams, first).await;
            true
        }
        _ => false,
    };
    connection.close(CloseCode::DONE.varint(), b"");
    link.forget(&connection);
    drop(slot);
    was_up
}

/// Opens the streams out. The dialler also waits for a stream in: only then has the other side taken it
/// for a member and has no better connection.
async fn open(
    connection: &Connection,
    dialler: bool,
) -> Result<([SendStream; 2], Option<RecvStream>), ConnectionError> {
    let mut streams = Vec::with_capacity(StreamClass::ALL.len());
    for class in StreamClass::ALL {
        let mut stream = connection.open_uni().await?;
        // a failing write means a failing connection, which the next call reports
        let _ = stream.set_priority(if class == StreamClass::Prompt { 1 } else { 0 });
        let _ = stream.write_all(&[class as u8]).await;
        streams.push(stream);
    }
    let streams = streams.try_into().expect("one stream per class");
    let first = if dialler { Some(connection.accept_uni().await?) } else { None };
    Ok((streams, first))
}

/// How one stream's task ended.
enum End {
    /// Nobody did anything wrong.
    Quiet,
    Refused(TransportRefusal),
}

#[derive(Clone)]
struct Session {
    net: Arc<Net>,
    link: Arc<Link>,
    connection: Connection,
    budgets: [Budget; 2],
    /// The classes that have a stream in.
    reading: Arc<[AtomicBool; 2]>,
}

impl Session {
    fn new(net: Arc<Net>, link: Arc<Link>, connection: Connection) -> Self {
        let budgets = StreamClass::ALL.map(|_| Budget::new(net.config.receive_budget, net.config.frame_max));
        Self { net, link, connection, budgets, reading: Arc::default() }
    }

    async fn serve(&self, streams: [SendStream; 2], first: Option<RecvStream>) {
        let mut tasks = JoinSet::new();
        self.link.open_queues();
        self.link.set_up(true);
        self.net.handler.connected(self.link.node);
        for (class, stream) in StreamClass::ALL.into_iter().zip(streams) {
            tasks.spawn(self.clone().write(class, stream));
        }
        if let Some(stream) = first {
            tasks.spawn(self.clone().read(stream));
        }
        loop {
            tokio::select! {
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => { tasks.spawn(self.clone().read(stream)); }
                    Err(_) => break,
                },
                Some(ended) = tasks.join_next() => {
                    // a task that panicked is a bug here or in the handler: the panic is shown, the session ends
                    let Ok(end) = ended else { break };
                    if let End::Refused(what) = end {
                        self.net.refuse(what, self.connection.remote_address());
                        self.connection.close(what.close_code().varint(), what.to_string().as_bytes());
                        break;
                    }
                }
            }
        }
        tasks.shutdown().await;
        self.link.close_queues(&self.net.drops);
        self.link.set_up(false);
        self.net.handler.disconnected(self.link.node);
    }

    async fn write(self, class: StreamClass, mut stream: SendStream) -> End {
        if let Err(error) = write_queue(self.link.queue(class), &mut stream, &self.net.sent).await {
            tracing::debug!(node = ?self.link.node, %error, "stream out ended");
            // without a stream of each class the connection is of no use
            self.connection.close(CloseCode::BAD_STREAM.varint(), b"stream out ended");
        }
        End::Quiet
    }

    async fn read(self, stream: RecvStream) -> End {
        let mut reader = FrameReader::new(stream, self.budgets[0].clone(), self.net.config.frame_max);
        let class = match reader.class_byte().await {
            Ok(Some(0)) => StreamClass::Prompt,
            Ok(Some(1)) => StreamClass::Bulk,
            Ok(Some(_)) => return End::Refused(TransportRefusal::UnknownClass),
            Ok(None) | Err(_) => return End::Quiet,
        };
        if self.reading[class as usize].swap(true, Ordering::Relaxed) {
            return End::Refused(TransportRefusal::StreamTwice);
        }
        reader.use_budget(self.budgets[class as usize].clone());
        let end = self.frames(&mut reader).await;
        self.reading[class as usize].store(false, Ordering::Relaxed);
        end.err().and_then(|error| error.refusal()).map_or(End::Quiet, End::Refused)
    }

    async fn frames(&self, reader: &mut FrameReader) -> Result<(), FrameError> {
        while let Some(frame) = reader.next().await? {
            self.net.received.add(1, frame.len());
            self.net.handler.frame(self.link.node, frame);
        }
        Ok(())
    }
}
