// Section "Content": the header and message ids, what is missing, conversations, sums of history; and the hashes of "Identifiers" and
// "Transport" that no other file has.
import { encode } from './frames.mjs';
import { H, ascii, bin, cat, compare, hex, must, peerID, pub, reader, refuses, u16, u32, u64, u8, zero, userID, deviceID, mailboxID } from './lib.mjs';

export const name = 'content.json';
const messageID = (user, key, content) => H(ascii('kith1 msg'), user, key, content);
const contentOf = (c) => cat(u8(1), u16(c.kind), bin(c.conversation), u64(c.sent_at), bin(c.nonce), u8(c.parents.length), ...c.parents.map(bin), bin(c.payload));
function parse(raw) {
  const r = reader(raw);
  must(r.u8() === 1, 'version');
  r.take(2 + 16 + 8 + 16);
  const n = r.u8();
  must(n <= 3, 'parents');
  r.take(16 * n);
}
const chatOf = (a, b) => H(ascii('kith1 chat'), ...[a, b].sort(compare)).slice(0, 16);

// 10.2, 11: kinds 45 and 46 name runs of counters, each a block u32 and a number in it u32; here "block:number-block:number".
function counterOf(text) {
  const [block, number] = text.split(':').map(BigInt);
  must(number > 0n, 'numbers begin at 1');
  return (block << 32n) | number;
}
function spansOf(spans) {
  must(spans.length <= 32, 'spans');
  return encode(spans.map((span) => span.split('-').map(counterOf)).map(([from, to]) => [1, encode([[1, from], [2, to]])]));
}

function refused(c) {
  const good = contentOf(c), cases = {
    'the version is 1': cat([2], good.slice(1)), 'at most 3 parents': contentOf({ ...c, parents: Array(4).fill(c.nonce) }), 'as many parents as it says': cat(contentOf({ ...c, parents: [] }).slice(0, 43), [1], zero(15)), 'a whole header': good.slice(0, 43), 'not empty': zero(0),
  };
  return Object.entries(cases).map(([rule, content]) => {
    must(refuses(() => parse(content)), `not refused: ${rule}`);
    return { rule, content: hex(content) };
  });
}

function sumOf(rows) {
  const sum = zero(16);
  for (const { id, state } of rows) H(ascii('kith1 history'), bin(id), bin(state)).slice(0, 16).forEach((x, i) => { sum[i] ^= x; });
  return hex(sum);
}

export function build(v) {
  return {
    about: 'Content (docs/protocol.md, section 10), questions for what is missing (11), and names made by hashing. Bytes are hex, sent_at Lamport milliseconds, spans "block:number-block:number". In each case the first fields are inputs.',
    contents: v.contents.map((c) => {
      const content = contentOf(c);
      parse(content);
      return { user: c.user, device_key: c.device_key, kind: c.kind, conversation: c.conversation, sent_at: c.sent_at, nonce: c.nonce, parents: c.parents, payload: c.payload, content: hex(content), message_id: hex(messageID(bin(c.user), bin(c.device_key), content)) };
    }),
    spans: v.spans.map(({ what, user, device_key, kind, conversation, sent_at, nonce, parents, spans }) => {
      const c = { user, device_key, kind, conversation, sent_at, nonce, parents, payload: hex(spansOf(spans)) }, content = contentOf(c);
      must(kind === 45 || kind === 46, 'kind');
      return { what, user, device_key, kind, conversation, sent_at, nonce, parents, spans, payload: c.payload, content: hex(content), message_id: hex(messageID(bin(user), bin(device_key), content)) };
    }),
    refused: refused(v.contents[0]),
    conversations: v.conversations.map(({ a, b }) => ({ a, b, id: hex(chatOf(bin(a), bin(b))) })),
    sums: v.sums.map(({ rows }) => ({ rows, sum: sumOf(rows) })),
    names: v.names.map(({ seed, epoch }) => ({ seed, key: hex(pub(bin(seed))), epoch })).map(({ seed, key, epoch }) => ({
      seed, key, epoch, user_id: hex(userID(bin(key))), device_id: hex(deviceID(bin(key))), mailbox_id: hex(mailboxID(bin(key))), peer_id: hex(peerID(bin(key))),
      port: 20000 + Number(BigInt('0x' + hex(H(ascii('kith1 port'), bin(key)).slice(0, 4))) % 12000n), scout: hex(H(ascii('kith1 scout'), peerID(bin(key)), u32(epoch))),
    })),
  };
}
