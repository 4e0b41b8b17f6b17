// Section "Acts": what becomes of a message, and the bytes that docs/storage.md gives its state. The acts of a case are
// taken together, as a set: their order means nothing.
import { ascii, bin, cat, compare, hex, must, u16, u64, u8, zero } from './lib.mjs';

export const name = 'acts.json';
const MINUTE = 60000, least = (a, b) => a.at - b.at || compare(bin(a.id), bin(b.id));
const byUser = (a, b) => compare(bin(a.user), bin(b.user)), stamp = (s) => cat(u64(s.at), bin(s.id));

// The entries of each user, users ascending.
function people(acts, pick) {
  const users = [...new Set(acts.map((a) => a.user))].sort((a, b) => compare(bin(a), bin(b))).slice(0, 256);
  return users.flatMap((user) => pick(acts.filter((a) => a.user === user).sort(least)));
}

function stateOf(acts) {
  const of = (kind) => acts.filter((a) => a.kind === kind);
  const message = of('message')[0], author = message?.user, mine = (a) => !message || a.user === author;
  const unsends = people(of('unsend').filter(mine), (all) => all.slice(0, 1));
  const unsent = Boolean(message && unsends.length && unsends[0].at <= message.at + 2 * MINUTE);
  const marks = [...of('delete'), ...of('undelete')].sort((a, b) => b.at - a.at || (a.kind === 'delete' ? -1 : 1));
  const deleted = marks[0]?.kind === 'delete', deletedAt = marks[0]?.at ?? 0, reads = of('read').map((a) => a.at);
  let edits = people(of('edit').filter(mine), (all) => all.slice(0, 8)).map((e) => ({ ...e, counts: true }));
  let refused = [];
  if (message) {
    const inTime = edits.filter((e) => message.at <= e.at && e.at <= message.at + 15 * MINUTE).slice(0, 5);
    for (const e of edits) e.counts = inTime.includes(e);
    refused = of('edit').filter((e) => !mine(e)).sort(least).slice(0, 5);
  }
  let reactions = people(of('react'), (all) => all.slice(-1));
  const texts = message ? edits.filter((e) => e.counts) : [], shown = Math.min(5, refused.length + edits.filter((e) => !e.counts).length);
  if (unsent) [edits, refused, reactions] = [[], [], []];
  const flags = (message ? 1 : 0) | (deleted ? 2 : 0);
  const state = cat(u8(1), u8(flags), message ? cat(bin(author), u64(message.at)) : zero(0), u64(deletedAt), u64(reads.length ? Math.min(...reads) : 0),
    u16(edits.length), ...edits.map((e) => cat(bin(e.user), stamp(e), e.counts ? cat(u8(1), u16(ascii(e.text).length), ascii(e.text)) : u8(0))),
    u16(unsends.length), ...unsends.map((e) => cat(bin(e.user), stamp(e))), u8(refused.length), ...refused.map(stamp),
    u16(reactions.length), ...reactions.map((r) => cat(bin(r.user), stamp(r), u8(ascii(r.text ?? '').length), ascii(r.text ?? ''))));
  return {
    state: hex(state), texts: unsent ? [] : texts.map((e) => e.text), refused: unsent ? 0 : message ? shown : 0, unsent,
    reactions: message ? reactions.filter((r) => r.text).sort(least).map((r) => r.text) : [], deleted, erased: false,
  };
}

export const build = (v) => ({
  about: 'Acts (docs/protocol.md, "Acts"; docs/storage.md): what becomes of a message. Ids and states are hex, times Lamport milliseconds; a body stands for the protobuf that it would be. Acts stand in no order; what follows them follows from them.',
  cases: v.cases.map(({ name, acts }) => ({ name, acts, ...stateOf(acts) })),
});
