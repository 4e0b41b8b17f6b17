// Section "Groups": entries, what enters a log, and the state of a set of entries.
import { H, LP, ascii, bin, cat, compare, hex, must, pub, reader, refuses, same, sign, u16, u32, u64, u8, verify, x25519, zero } from './lib.mjs';
import { accountOf, listOf, parseList } from './identity.mjs';

export const name = 'group.json';
const [CREATE, ADD, REMOVE, LEAVE, ADMIN, NAME, IMAGE] = [1, 2, 3, 4, 5, 6, 7];
const KINDS = { create: CREATE, add: ADD, remove: REMOVE, leave: LEAVE, admin: ADMIN, name: NAME, image: IMAGE };

// A person with one device, from a number.
function personOf(n) {
  const seed = (what) => H(ascii(`${what} of person ${n}`));
  const a = accountOf(seed('root seed'), 1), sig = pub(seed('signing key')), ik = x25519.getPublicKey(seed('identity key'));
  const list = listOf(a, { seq: 1, prev: zero(32), issued: 1772366400, not_after: 1773576000, flags: 0, devices: [{ sig, ik, flags: 1, added_seq: 1 }] });
  return { user: a.user, sign: seed('signing key'), sig, list, head: cat(u32(1), u64(1), H(list)) };
}

function bodyOf(e, people) {
  switch (KINDS[e.kind]) {
    case CREATE: case NAME: return ascii(e.text);
    case IMAGE: return bin(e.image);
    case ADD: case REMOVE: case ADMIN: return cat(u8(e.admin ? 1 : 0), ...e.users.map((u) => people[u].user).sort(compare));
    default: return zero(0);
  }
}
function entryOf(f) {
  const raw = cat(u8(f.version ?? 1), f.group, u8(f.kind), f.by.user, f.by.sig, f.by.head, u64(f.lamport), u8(f.parents.length), ...f.parents, LP(f.body));
  return cat(raw, sign(f.signer ?? f.by.sign, f.label ?? 'kith1 group entry', raw));
}

function parse(raw, lists) {
  must(raw.length <= 1024, 'size');
  const r = reader(raw.slice(0, -64));
  must(r.u8() === 1, 'version');
  const e = { raw, hash: H(raw), group: r.take(16), kind: r.u8(), user: r.take(32), sig: r.take(32), head: r.take(44), lamport: r.u64() };
  const ascend = (all) => all.every((x, i) => i === 0 || compare(all[i - 1], x) < 0);
  e.parents = Array.from({ length: r.u8() }, () => r.take(32));
  const body = r.lp(1024);
  r.end();
  must(e.parents.length <= 8 && ascend(e.parents) && e.lamport > 0n && e.lamport < 2n ** 63n, 'parents, lamport');
  must(e.kind >= 1 && e.kind <= 7 && (e.kind === CREATE) === same(e.group, zero(16)) && (e.kind === CREATE) === (e.parents.length === 0), 'kind');
  if (e.kind === CREATE || e.kind === NAME) {
    must(body.length <= 64, 'name');
    e.text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } else if (e.kind === LEAVE) must(body.length === 0, 'leave');
  else if (e.kind === IMAGE) must(body.length <= 567, 'image');
  else {
    e.admin = body[0];
    e.users = Array.from({ length: (body.length - 1) / 32 }, (_, i) => body.slice(1 + 32 * i, 33 + 32 * i));
    must(body.length % 32 === 1 && e.users.length >= 1 && e.users.length <= 16 && ascend(e.users) && e.admin <= (e.kind === REMOVE ? 0 : 1), 'people');
  }
  must(verify(e.sig, 'kith1 group entry', raw.slice(-64), raw.slice(0, -64)), 'signature');
  const list = lists.find((l) => same(cat(u32(l.epoch), u64(l.seq), l.hash), e.head));
  must(list && same(list.user, e.user) && list.devices.some((d) => same(d.sig, e.sig)), 'its list does not name the device');
  e.id = hex(e.hash);
  return e;
}

// The log: entries in the order in which they entered.
class Log {
  constructor(group) { Object.assign(this, { group, entries: new Map(), befores: new Map(), states: new Map() }); }

  ancestors(e) { // ids of all entries that e builds on
    if (!this.befores.has(e.id)) {
      const all = new Set();
      for (const p of e.parents.map(hex)) { all.add(p); for (const x of this.ancestors(this.entries.get(p))) all.add(x); }
      this.befores.set(e.id, all);
    }
    return this.befores.get(e.id);
  }
  before(e) { // the state of e's ancestors
    if (!this.states.has(e.id)) this.states.set(e.id, this.stateOf(this.ancestors(e)));
    return this.states.get(e.id);
  }
  enter(e) {
    must(e.kind === CREATE ? this.entries.size === 0 && same(H(ascii('kith1 group'), e.raw).slice(0, 16), this.group) : same(e.group, this.group), 'another group');
    const parents = e.parents.map((p) => this.entries.get(hex(p)));
    must(parents.every(Boolean) && parents.every((p) => p.lamport < e.lamport), 'parents');
    this.allowed(e);
    this.entries.set(e.id, e);
  }
  allowed(e) {
    if (e.kind !== CREATE) {
      const s = this.before(e), me = s.members.get(hex(e.user)), named = e.users?.map((u) => s.members.get(hex(u)));
      must(me && (me.admin || e.kind === LEAVE), 'no right');
      if (e.kind === ADD) must(named.every((m) => !m), 'a member already');
      if (e.kind === REMOVE) must(named.every(Boolean) && !e.users.some((u) => same(u, e.user)), 'no member, or itself');
      if (e.kind === ADMIN) must(named.every((m) => m && m.admin !== (e.admin === 1)), 'changes nothing');
    }
  }
  order(a, b) { return a.lamport < b.lamport ? -1 : a.lamport > b.lamport ? 1 : compare(a.hash, b.hash); }

  // basis: what gave the author of e its place and its rights, as the state of e's ancestors has them.
  basis(e) {
    const out = new Set(), s = this.before(e);
    const from = (author) => {
      const m = s.members.get(author);
      for (const b of [m?.added, m?.made]) if (b && !out.has(b)) { out.add(b); from(hex(this.entries.get(b).user)); }
    };
    if (e.kind !== CREATE) from(hex(e.user));
    return out;
  }
  hits(r, g) {
    return r.users.some((u) => same(u, g.user)) && !this.ancestors(r).has(g.id) && r.id !== g.id && !(this.ancestors(g).has(r.id) && this.before(g).effect.has(r.id));
  }
  hitsWithBasis(r, g) { return this.hits(r, g) || [...this.basis(g)].some((b) => b !== r.id && this.hits(r, this.entries.get(b))); }

  stateOf(ids) {
    const all = [...ids].map((id) => this.entries.get(id)).sort((a, b) => this.order(a, b));
    const removals = all.filter((e) => e.kind === REMOVE || (e.kind === ADMIN && e.admin === 0));
    const hitBy = new Map(removals.map((g) => [g.id, removals.filter((r) => r !== g && this.hitsWithBasis(r, g))]));
    const effect = new Set(), dead = new Set(), undecided = () => removals.filter((r) => !effect.has(r.id) && !dead.has(r.id));
    while (undecided().length) {
      const was = undecided().length;
      for (const r of undecided()) {
        if (hitBy.get(r.id).some((x) => effect.has(x.id))) dead.add(r.id);
        else if (hitBy.get(r.id).every((x) => dead.has(x.id))) effect.add(r.id);
      }
      if (undecided().length < was) continue;
      const left = undecided(), open = (r) => hitBy.get(r.id).filter((x) => left.includes(x));
      const reach = (r, seen = new Set()) => { for (const x of open(r)) if (!seen.has(x)) { seen.add(x); reach(x, seen); } return seen; };
      const circle = left.map((r) => [r, ...reach(r)]).sort((a, b) => a.length - b.length).find(([r, ...of]) => of.every((x) => reach(x).has(r)));
      const rank = (r) => { const m = this.before(r).members.get(hex(r.user)); return [this.entries.get(m.added), hex(r.user)]; };
      const senior = (a, b) => { const [x, y] = [rank(a), rank(b)]; return this.order(x[0], y[0]) || (x[1] < y[1] ? -1 : x[1] > y[1] ? 1 : compare(a.hash, b.hash)); };
      const first = [...new Set(circle)].sort(senior)[0];
      effect.add(first.id);
      for (const x of hitBy.get(first.id)) dead.add(x.id);
    }
    for (const g of all) {
      if (g.kind !== LEAVE && !removals.includes(g) && removals.some((r) => effect.has(r.id) && this.hitsWithBasis(r, g))) dead.add(g.id);
    }
    return { ...this.apply(all.filter((e) => !dead.has(e.id))), effect };
  }
  apply(entries) {
    const members = new Map(), past = [];
    let title = '';
    const seniority = () => [...members].sort(([a, x], [b, y]) => this.order(this.entries.get(x.added), this.entries.get(y.added)) || (a < b ? -1 : 1));
    const out = (user, e) => { past.push({ user, from: Number(members.get(user).since), to: Number(e.lamport) }); members.delete(user); };
    for (const e of entries) {
      const by = hex(e.user), me = members.get(by);
      if (e.kind !== CREATE && !(me && (me.admin || e.kind === LEAVE))) continue;
      const named = (e.users ?? []).map(hex);
      if (e.kind === CREATE) members.set(by, { since: e.lamport, added: e.id, admin: true, made: e.id });
      if (e.kind === CREATE || e.kind === NAME) title = e.text;
      if (e.kind === LEAVE) out(by, e);
      for (const u of named) {
        const m = members.get(u);
        if (e.kind === ADD && !m && members.size < 256) members.set(u, { since: e.lamport, added: e.id, admin: e.admin === 1, made: e.admin ? e.id : undefined });
        if (e.kind === REMOVE && m) out(u, e);
        if (m && (e.kind === ADMIN || (e.kind === ADD && e.admin)) && m.admin !== (e.admin === 1)) Object.assign(m, { admin: e.admin === 1, made: e.admin ? e.id : undefined });
      }
      if (members.size && ![...members.values()].some((m) => m.admin)) Object.assign(seniority()[0][1], { admin: true, made: e.kind === LEAVE ? undefined : e.id });
    }
    return { members: new Map(seniority()), past, title };
  }
}

// What nobody takes up. Each is made of an entry of person "by" that would be good.
function refusedOf(log, f, people, parents) {
  const by = people[f.by], group = log.group;
  const good = { group, by, lamport: f.lamport, parents, kind: KINDS[f.kind], body: f.body ? bin(f.body) : bodyOf(f, people) };
  const forged = {
    version: { version: 2 }, signer: { signer: people[f.by === 0 ? 1 : 0].sign }, label: { label: 'kith1 device list sig' }, group: { group: H(group).slice(0, 16) },
    kind_number: { kind: f.kind_number }, head: { by: { ...by, head: people[f.by === 0 ? 1 : 0].head } }, parents: { parents: [...parents].reverse() },
  };
  return entryOf({ ...good, ...(forged[f.forge] ?? {}) });
}

// A log of entries that a generator draws: people act on what they know, and tell each other now and then.
function drawn(name, seed, crowd, length) {
  let state = H(ascii(`${name} ${seed}`)), at = 0;
  const draw = (n) => {
    if (at === 32) { state = H(state); at = 0; }
    return state[at++] % n;
  };
  const people = Array.from({ length: crowd }, (_, i) => personOf(i)), entries = [];
  const lists = people.map((p) => parseList(p.list));
  let log;
  const knows = people.map(() => new Set());
  for (let tries = 0; entries.length < length && tries < 40 * length; tries++) {
    const first = entries.length === 0, by = first ? 0 : draw(crowd);
    if (!first && draw(3) === 0) for (const x of knows[draw(crowd)]) knows[by].add(x);
    if (!first && !knows[by].size) continue;
    const heads = [...knows[by]].filter((i) => ![...knows[by]].some((j) => entries[j].parents.includes(i))).sort((a, b) => a - b);
    const kind = first ? 'create' : ['add', 'add', 'remove', 'remove', 'admin', 'admin', 'leave', 'name'][draw(8)];
    if (kind === 'leave' && (entries.length < 12 || draw(3))) continue;
    const e = { by, kind, lamport: 1 + Math.max(0, ...[...knows[by]].map((i) => entries[i].lamport)) + draw(3), parents: heads };
    if (kind === 'create' || kind === 'name') e.text = `${name} ${entries.length}`;
    if (['add', 'remove', 'admin'].includes(kind)) Object.assign(e, { ...(kind !== 'remove' && draw(2) && { admin: true }), users: [...new Set([draw(crowd), draw(crowd)])].sort((a, b) => a - b).slice(0, 1 + draw(2)) });
    try {
      const raws = log ? [...log.entries.values()] : [];
      // Rights are looked at first, under an id that is nobody's: a signature takes longer.
      log?.allowed({ id: `try ${tries}`, user: people[by].user, kind: KINDS[kind], admin: e.admin ? 1 : 0, users: e.users?.map((u) => people[u].user), parents: heads.map((i) => raws[i].hash) });
      const raw = entryOf({ group: log?.group ?? zero(16), by: people[by], lamport: e.lamport, parents: heads.map((i) => raws[i].hash).sort(compare), kind: KINDS[kind], body: bodyOf(e, people) });
      log ??= new Log(H(ascii('kith1 group'), raw).slice(0, 16));
      log.enter(parse(raw, lists));
    } catch { continue; }
    entries.push(e);
    knows[by].add(entries.length - 1);
    // Whoever knows an entry knows what it builds on.
    for (const k of knows) for (let i = entries.length - 1; i >= 0; i--) if (k.has(i)) for (const p of entries[i].parents) k.add(p);
  }
  return { name, people: crowd, entries };
}

function built(l) {
  const people = Array.from({ length: l.people }, (_, i) => personOf(i)), lists = people.map((p) => parseList(p.list));
  let log;
  const raws = [];
  for (const e of l.entries) {
    const parents = e.parents.map((i) => H(raws[i])).sort(compare);
    const raw = entryOf({ group: log?.group ?? zero(16), by: people[e.by], lamport: e.lamport, parents, kind: KINDS[e.kind], body: bodyOf(e, people) });
    log ??= new Log(H(ascii('kith1 group'), raw).slice(0, 16));
    log.enter(parse(raw, lists));
    raws.push(raw);
  }
  const s = log.stateOf(new Set(log.entries.keys())), index = (user) => people.findIndex((p) => hex(p.user) === user);
  const out = {
    name: l.name, people: l.people, entries: l.entries.map((e, i) => ({ ...e, entry: hex(raws[i]), hash: hex(H(raws[i])) })), group: hex(log.group), title: s.title,
    members: [...s.members].map(([user, m]) => ({ person: index(user), admin: m.admin, since: Number(m.since) })),
    past: s.past.map(({ user, from, to }) => ({ person: index(user), from, to })).sort((a, b) => a.person - b.person || a.from - b.from),
  };
  if (l.refused) {
    out.refused = l.refused.map((f) => {
      const raw = refusedOf(log, f, people, f.parents.map((i) => H(raws[i])).sort(compare));
      must(refuses(() => log.enter(parse(raw, lists))), `${l.name}: not refused: ${f.why}`);
      return { ...f, entry: hex(raw) };
    });
  }
  return out;
}

export function build(v) {
  const people = Array.from({ length: 8 }, (_, i) => personOf(i));
  const strip = ({ entry, hash, ...e }) => e;
  const logs = v.logs.map((l) => built({ name: l.name, people: l.people, entries: l.entries.length ? l.entries.map(strip) : drawn(l.name, 0, l.people, l.length ?? 24).entries, refused: l.refused?.map(strip) }));
  return {
    about: 'Groups (docs/protocol.md, "Groups"): entries and the members that logs have. Bytes are hex, times Lamport milliseconds; people, parents and the people in an entry are numbers of these lists. The seeds of person n are SHA-256("root seed of person n"), "signing key of …", "identity key of …". entry, hash, group, title, members (the most senior first) and past follow from the rest; entries of refused never enter that log.',
    people: people.map((p) => ({ user: hex(p.user), list: hex(p.list) })), logs,
  };
}
