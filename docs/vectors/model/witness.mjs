// "Fork proof" and the codes and words of "Safety number": what devices show each other about device lists.
import { LP, bin, cat, compare, hex, must, reader, refuses, same, u32, u64, u8 } from './lib.mjs';
import { half, parseList, safetyWords } from './identity.mjs';
import { base32 } from './links.mjs';

export const name = 'witness.json';

// Whether two lists of one user exclude each other.
function exclude(a, b) {
  if (!same(a.user, b.user) || a.epoch !== b.epoch || same(a.hash, b.hash)) return false;
  return a.seq === b.seq || (b.seq === a.seq + 1n && !same(b.prev, a.hash));
}
function proofOf(a, b) {
  const both = [a, b].map((raw) => ({ raw, l: parseList(raw) })).sort((x, y) => (x.l.seq < y.l.seq ? -1 : x.l.seq > y.l.seq ? 1 : compare(x.l.hash, y.l.hash)));
  must(exclude(both[0].l, both[1].l), 'no fork');
  return cat(u8(1), LP(both[0].raw), LP(both[1].raw));
}
function parseProof(raw) {
  const r = reader(raw);
  must(r.u8() === 1, 'version');
  const a = r.lp(1456), b = r.lp(1456);
  r.end();
  must(same(proofOf(a, b), raw), 'another order');
  return parseList(a);
}
const pem = (raw) => `-----BEGIN KITH PROOF-----\n${Buffer.from(raw).toString('base64').match(/.{1,64}/g).join('\n')}\n-----END KITH PROOF-----\n`;
const headOf = (h) => cat(u32(h.epoch), u64(h.seq), bin(h.hash).slice(0, 20));
const words = (a, b) => [a, b].map((user) => [half(user), safetyWords(user)]).sort(([x], [y]) => (x < y ? -1 : 1)).map(([, w]) => w).join(' ');

export function build(v) {
  must(v.refused_proofs.every((p) => refuses(() => parseProof(bin(p)))), 'a bad proof passes');
  return {
    about: 'Fork proofs, codes and words of the safety number (docs/protocol.md, section 1). Bytes are hex. In each case the first fields are inputs; the last proofs must be refused.',
    proofs: v.proofs.map(({ a, b }) => {
      const proof = proofOf(bin(a), bin(b));
      return { a, b, proof: hex(proof), user: hex(parseProof(proof).user), text: pem(proof) };
    }),
    codes: v.codes.map(({ user, peer, user_head, peer_head }) => ({ user, peer, user_head, peer_head, code: `KITH-VERIFY:${base32(cat(u8(1), bin(user), bin(peer), headOf(user_head), headOf(peer_head)))}` })),
    safety_words: v.safety_words.map(({ a, b }) => ({ a, b, words: words(bin(a), bin(b)) })),
    refused_proofs: v.refused_proofs,
  };
}
