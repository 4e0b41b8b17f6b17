// Section "/kith/prekey/1": questions for one-time bundles, what a relay checks of an offer, and the answers.
import { H, LP, ascii, bin, cat, hex, mailboxID, must, peerID, pub, reader, refuses, same, sign, u8, verify, zero } from './lib.mjs';
import { bundleOf, parseBundle } from './identity.mjs';

export const name = 'prekey.json';
const SIZE = 1415, DAY = 86400, WEEK = 7 * DAY;
const relayKey = pub(H(ascii('relay'))), relay = peerID(relayKey), boxSeed = H(ascii('box'));

// A device's bundle, from the text that its keys are hashes of.
function bundle({ device, number, issued, not_after, flags }) {
  const of = (what) => H(ascii(`${what} of ${device}`)), prekey = (what) => H(ascii(`${what} ${number} of ${device}`));
  return bundleOf({ user: of('user'), sign: of('sign'), ik_scalar: of('ik'), generation: 1, number, issued, not_after, flags, spk_scalar: prekey('spk'), pq_seed: cat(prekey('pq d'), prekey('pq z')) });
}

const signed = (seed, peer, verb, content, box = mailboxID(pub(seed))) => sign(seed, 'kith1 relay request sig', u8(verb), LP(peer), box, LP(content));
function offer(bundles, { seed = boxSeed, peer = relay, verb = 6, over = bundles, n = bundles.length } = {}) {
  return cat(u8(2), pub(seed), signed(seed, peer, verb, cat(...over)), u8(n), ...bundles);
}

function parse(frame) {
  const r = reader(frame), kind = r.u8();
  must(kind === 1 || kind === 2, 'kind');
  if (kind === 1) { const id = r.take(32); r.end(); return { id }; }
  const key = r.take(32), sig = r.take(64), n = r.u8();
  must(n <= 32, 'count');
  const bundles = Array.from({ length: n }, () => r.take(SIZE));
  r.end();
  return { key, sig, bundles };
}
// What a relay that leases the box as a front door takes in.
function admit({ key, sig, bundles }, now) {
  must(verify(key, 'kith1 relay request sig', sig, u8(6), LP(relay), mailboxID(key), LP(cat(...bundles))), 'signature');
  must(same(key, pub(boxSeed)), 'no lease');
  const read = bundles.map(parseBundle);
  must(read.every((b) => (b.flags & 1) === 1 && BigInt(now) <= b.not_after && b.issued <= BigInt(now + DAY) && b.not_after - b.issued <= BigInt(WEEK)), 'not to be handed out');
  must(read.every((b) => same(b.sig, read[0].sig)), 'two devices');
}

// Frames that are no question.
function refused(one) {
  const good = offer([one]), cases = {
    'not empty': zero(0), 'a kind that there is': cat([3], zero(32)), 'an id of 32 bytes': cat([1], zero(31)), 'at most 32 bundles': offer([], { n: 33 }), 'as many bundles as it says': offer([one], { n: 2 }), 'whole bundles': good.slice(0, -1),
  };
  return Object.entries(cases).map(([rule, frame]) => {
    must(refuses(() => parse(frame)), `not refused: ${rule}`);
    return { rule, frame: hex(frame) };
  });
}
// Questions whose answer is 255.
function refusedOffers(f, now) {
  const one = bundle(f), two = bundle({ ...f, number: f.number + 1 }), broken = cat(one.slice(0, 700), [one[700] ^ 1], one.slice(701)), other = H(ascii('another box'));
  const cases = {
    'for this relay': offer([one], { peer: peerID(pub(other)) }), 'verb 6': offer([one], { verb: 5 }), 'over these bundles': offer([one], { over: [two] }), 'in this order': offer([one, two], { over: [two, one] }), 'of a box with a lease': offer([one], { seed: other }),
    'one-time': offer([bundle({ ...f, flags: 0 })]), 'fresh': offer([bundle({ ...f, issued: now - WEEK - 1, not_after: now - 1 })]), 'not of a time to come': offer([bundle({ ...f, issued: now + 2 * DAY, not_after: now + WEEK })]), 'at most 7 days': offer([bundle({ ...f, not_after: f.issued + WEEK + 1 })]), 'of one device': offer([one, bundle({ ...f, device: 'laptop' })]), 'signed by the device': offer([broken]),
  };
  return Object.entries(cases).map(([rule, frame]) => {
    must(refuses(() => admit(parse(frame), now)), `not refused: ${rule}`);
    return { rule, frame: hex(frame) };
  });
}

export function build(v) {
  const offers = v.offers.map(({ what, bundles }) => {
    const raw = bundles.map(bundle), frame = offer(raw);
    admit(parse(frame), v.now);
    return { what, bundles, raw: raw.map(hex), frame: hex(frame) };
  });
  return {
    about: 'Frames of /kith/prekey/1 (docs/protocol.md, section 7.3). Bytes are hex, times unix seconds. The box key has the seed SHA-256("box"), the relay\'s key SHA-256("relay"). A question of refused ends the stream; refused_offers are answered by 255 at the time now. In each case the first fields are inputs.',
    now: v.now,
    takes: v.takes.map(({ what, key }) => ({ what, key, frame: hex(cat(u8(1), what === 'box' ? mailboxID(bin(key)) : H(ascii('kith1 device'), bin(key)))) })),
    offers,
    given: [{ what: 'a bundle', frame: offers[1].raw[0] }, { what: 'none', frame: hex(zero(SIZE)) }],
    held: v.held.map(({ count }) => ({ count, frame: hex(u8(count ?? 255)) })),
    refused: refused(bin(offers[1].raw[0])),
    refused_offers: refusedOffers(v.offers[1].bundles[0], v.now),
  };
}
