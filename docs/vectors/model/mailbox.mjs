// Section "Mailbox": keys of boxes, requests signed by them, custody receipts, passes, work, what relays tell each other;
// and the race and the term of section "Election".
import { H, HKDF, LP, ascii, bin, cat, compare, deviceID, hex, mailboxID, must, peerID, pub, reader, refuses, same, sign, u16, u32, u64, u8, verify, zero } from './lib.mjs';

export const name = 'mailbox.json';
const FRONT_DOOR = 0xffffffff;

const boxSeed = (secret, epoch) => (epoch === FRONT_DOOR ? HKDF(secret, ascii('kith1 front door')) : HKDF(secret, ascii('kith1 epoch box'), u32(epoch)));
const requestParts = (verb, relay, box, content) => [u8(verb), LP(relay), box, LP(content)];

// 4.5 Custody receipts: the signature is over the root of a tree, whose leaves are the receipts of one commit.
const leafOf = (body) => H([0], body), nodeOf = (left, right) => H([1], left, right);
function receiptsOf(relaySeed, bodies) {
  const paths = bodies.map(() => ({ sides: 0, siblings: [] }));
  let level = bodies.map((b, i) => ({ hash: leafOf(b), below: [i] }));
  while (level.length > 1) {
    const next = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i], level[i + 1]];
      if (!right) { next.push(left); continue; }
      for (const n of left.below) paths[n].siblings.push(right.hash);
      for (const n of right.below) { paths[n].sides |= 1 << paths[n].siblings.length; paths[n].siblings.push(left.hash); }
      next.push({ hash: nodeOf(left.hash, right.hash), below: [...left.below, ...right.below] });
    }
    level = next;
  }
  const sig = sign(relaySeed, 'kith1 custody sig', level[0].hash);
  return bodies.map((b, i) => cat(b, u8(paths[i].siblings.length), u16(paths[i].sides), ...paths[i].siblings, sig));
}
function checkReceipt(raw, relay, box, envelope) {
  const r = reader(raw), body = r.take(121), n = r.u8(), sides = r.u16();
  must(body[0] === 1 && n <= 10 && sides >> n === 0, 'body');
  let hash = leafOf(body);
  for (let i = 0; i < n; i++) { const s = r.take(32); hash = (sides >> i) & 1 ? nodeOf(s, hash) : nodeOf(hash, s); }
  const sig = r.take(64);
  r.end();
  must(same(body.slice(1, 33), relay) && same(body.slice(33, 65), box) && same(body.slice(65, 97), envelope), 'of something else');
  must(verify(relay, 'kith1 custody sig', sig, hash), 'signature');
}

function commit(c) {
  const relay = pub(bin(c.relay_seed)), box = mailboxID(pub(bin(c.box_seed))), ids = c.envelopes.map((e) => H(bin(e)));
  const receipts = receiptsOf(bin(c.relay_seed), ids.map((id) => cat(u8(1), relay, box, id, u64(c.stored), u64(c.expires), u64(c.set_number))));
  receipts.forEach((r, i) => checkReceipt(r, relay, box, ids[i]));
  return { ...c, relay: hex(peerID(relay)), box: hex(box), ids: ids.map(hex), receipts: receipts.map(hex) };
}
function refusedReceipts(c) {
  const relay = bin(c.relay).slice(6), good = bin(c.receipts[1]), over = (at, bytes) => cat(good.slice(0, at), bytes, good.slice(at + bytes.length));
  const cases = {
    'the version is 1': over(0, [2]), 'of this relay': over(1, pub(bin(c.box_seed))), 'of this box': over(33, zero(32)), 'of this envelope': over(65, bin(c.ids[0])),
    'stored when it says': over(104, [good[104] ^ 1]), 'kept for as long as it says': over(112, [good[112] ^ 1]), 'the set number that was signed': over(120, [9]),
    'at most 10 siblings': over(121, [11]), 'as many siblings as it says': over(121, [1]), 'no side beyond the siblings': over(122, [128, good[123]]), 'the side that was signed': over(123, [good[123] ^ 1]),
    'siblings that were signed': over(130, [good[130] ^ 1]), 'a shorter path is none': cat(good.slice(0, 121), u8(1), u16(good[123] >> 1), good.slice(156)), 'the signature': over(good.length - 1, [good[good.length - 1] ^ 1]), 'nothing stands behind it': cat(good, [0]), 'nothing is missing': good.slice(0, 187),
  };
  return Object.entries(cases).map(([rule, receipt]) => {
    must(refuses(() => checkReceipt(receipt, relay, bin(c.box), bin(c.ids[1]))), `not refused: ${rule}`);
    return { rule, receipt: hex(receipt) };
  });
}

// 4.8 Passes
const holderSeed = (secret, epoch) => HKDF(secret, ascii('kith1 pass holder'), u32(epoch));
const certOf = (boxKey, holder, label = 'kith1 pass sig') => cat(u8(1), holder, sign(boxKey, label, holder));
const use = (holder, cert, relay, box) => cat(cert, sign(holder, 'kith1 pass use sig', LP(relay), box));
function checkPass(pass, boxKey, relay) {
  must(pass.length === 161 && pass[0] === 1, 'size');
  const holder = pass.slice(1, 33);
  must(verify(boxKey, 'kith1 pass sig', pass.slice(33, 97), holder) && verify(holder, 'kith1 pass use sig', pass.slice(97), LP(relay), mailboxID(boxKey)), 'signature');
}
function pass(p) {
  const owner = bin(p.box_seed), seed = holderSeed(bin(p.secret), p.epoch), cert = certOf(owner, pub(seed)), relay = bin(p.relay), whole = use(seed, cert, relay, mailboxID(pub(owner)));
  checkPass(whole, pub(owner), relay);
  return { epoch: p.epoch, secret: p.secret, holder_seed: hex(seed), box_seed: p.box_seed, box_id: hex(mailboxID(pub(owner))), relay: p.relay, cert: hex(cert), pass_id: hex(H(ascii('kith1 pass id'), cert).slice(0, 8)), pass: hex(whole) };
}
function refusedPasses(p) {
  const owner = bin(p.box_seed), box = mailboxID(pub(owner)), relay = bin(p.relay), holder = bin(p.holder_seed), cert = bin(p.cert), other = H(ascii('somebody else')), good = bin(p.pass);
  const cases = {
    'the version is 1': cat([2], good.slice(1)), 'the owner signs the certificate': use(holder, certOf(other, pub(holder)), relay, box), 'the label is that of passes': use(holder, certOf(owner, pub(holder), 'kith1 set sig'), relay, box),
    'the holder uses it': use(other, cert, relay, box), 'for this relay': use(holder, cert, peerID(pub(other)), box), 'for this box': use(holder, cert, relay, mailboxID(pub(other))),
    'nothing stands behind it': cat(good, [0]), 'a certificate alone is none': cert,
  };
  return Object.entries(cases).map(([rule, raw]) => {
    must(refuses(() => checkPass(raw, pub(owner), relay)), `not refused: ${rule}`);
    return { rule, pass: hex(raw) };
  });
}

// 4.4 Work
const zeroBits = (h) => { let n = 0; for (const x of h) { if (x) return n + Math.clz32(x) - 24; n += 8; } return n; };
function work({ box, id, bits }) {
  for (let n = 0; ; n++) {
    if (zeroBits(H(ascii('kith1 work'), bin(box), bin(id), u64(n))) >= bits) return { box, id, bits, work: hex(u64(n)) };
  }
}

// 5 The race: time = -log2((x + 1) / 2^64) with 32 binary digits x 2^20 / weight.
function minusLog2(x) {
  const y = x + 1n, whole = BigInt(y.toString(2).length - 1);
  let m = y << (63n - whole), fraction = 0n; // in [1, 2), the 1 at bit 63
  if (whole === 64n) return 0n;
  for (let i = 0; i < 32; i++) {
    const square = (m * m) >> 63n;
    fraction <<= 1n;
    if (square >> 64n) { fraction |= 1n; m = square >> 1n; } else m = square;
  }
  return (64n << 32n) - ((whole << 32n) | fraction);
}
const first8 = (h) => BigInt('0x' + hex(h.slice(0, 8)));
const race = ({ seed, peer, weight }) => ({
  seed, peer, weight, score: String((minusLog2(first8(H(ascii('kith1 elect'), bin(seed), bin(peer)))) << 20n) / BigInt(weight)),
  term_seconds: 90 * 86400 + Number(first8(H(ascii('kith1 term'), bin(seed), bin(peer))) % 5184001n),
});

export function build(v) {
  const commits = v.commits.map(commit), passes = v.passes.map(pass);
  return {
    about: 'Mailboxes and elections (docs/protocol.md, sections 4 and 5). Bytes are hex, times unix milliseconds, Ed25519 keys their 32-byte seeds. In each case the first fields are inputs. refused_receipts are of the second envelope of the first commit, refused_passes of the first pass.',
    boxes: v.boxes.map(({ mailbox_secret, record_secret, epoch }) => ({
      mailbox_secret, record_secret, epoch, box_seed: hex(boxSeed(bin(mailbox_secret), epoch)), mailbox_id: hex(mailboxID(pub(boxSeed(bin(mailbox_secret), epoch)))), record_key: hex(HKDF(bin(record_secret), ascii('kith1 set record'), u32(epoch))),
    })),
    secrets: v.secrets.map(({ mailbox_secret, device_key }) => ({
      mailbox_secret, device_key, election_seed: hex(HKDF(bin(mailbox_secret), ascii('kith1 election'))), pass_secret: hex(HKDF(bin(mailbox_secret), ascii('kith1 pass'), deviceID(bin(device_key)))),
    })),
    requests: v.requests.map(({ what, box_seed, relay, verb, content }) => ({
      what, box_seed, relay, verb, content, sig: hex(sign(bin(box_seed), 'kith1 relay request sig', ...requestParts(verb, bin(relay), mailboxID(pub(bin(box_seed))), bin(content)))),
    })),
    commits, refused_receipts: refusedReceipts(commits[0]), passes, refused_passes: refusedPasses(passes[0]), work: v.work.map(work),
    sums: v.sums.map(({ ids }) => ({ ids, sum: hex(H(ascii('kith1 box sum'), ...ids.map(bin).sort(compare))) })),
    possessions: v.possessions.map(({ nonce, envelope }) => ({ nonce, envelope, proof: hex(H(ascii('kith1 possession'), bin(nonce), bin(envelope))) })),
    races: v.races.map(race),
  };
}
