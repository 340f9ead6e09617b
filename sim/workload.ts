/**
 * Clients that put, get, list and remove at the same time, and check each answer against what may
 * be true. Names are few and shared, so that they meet; directories come and go with their last
 * entry.
 */
import { concatBytes, errorCode, type ObjectId } from '../src/base/index.ts';
import type { ObjectInfo } from '../src/volume/index.ts';
import { type Contents, EMPTY_CONTENT } from './contents.ts';
import { ABSENT, type Operation, Register } from './model.ts';
import {
  checkOrder,
  KEYS,
  nameOf,
  type OperationName,
  OPERATIONS,
  pickWeighted,
  PREFIXES,
} from './operations.ts';
import type { SeededRandom } from './random.ts';
import { textOf } from './sim-env.ts';
import { type Outcome, TOLERANCE, Violation } from './violation.ts';
import type { World } from './world.ts';

/** An object that was answered for: under which name, by which put. */
interface Known {
  readonly id: ObjectId;
  readonly content: number;
  readonly register: Register;
  readonly write: Operation;
}

export class Workload {
  readonly #world: World;
  readonly #contents: Contents;
  readonly byKey: ReadonlyMap<string, Register>;
  /** Objects without a key, by id. */
  readonly byId = new Map<ObjectId, Register>();
  operationCount = 0;
  failedCount = 0;
  readonly #known: Known[] = [];
  /** Operations of unknown outcome that may still be on their way. */
  readonly #undecided: [Register, Operation][] = [];

  constructor(world: World, contents: Contents) {
    this.#world = world;
    this.#contents = contents;
    this.byKey = new Map(KEYS.map((key) => [key, new Register(key)]));
  }

  /** One client: `count` operations, one after the other. */
  async runClient(
    random: SeededRandom,
    options: { count: number; pauseMs: number; sleep: (ms: number) => Promise<void> },
  ): Promise<void> {
    // Each client has its own taste.
    const weights = Object.entries(OPERATIONS).map(
      ([name, weight]) => [name as OperationName, weight * random.exponential(1)] as const,
    );
    for (let i = 0; i < options.count; i++) {
      await options.sleep(random.exponential(options.pauseMs));
      await this.#one(pickWeighted(random, weights), random);
      this.operationCount += 1;
    }
  }

  async #one(name: OperationName, random: SeededRandom): Promise<void> {
    const key = random.pick(KEYS);
    const known = this.#known.length > 0 ? random.pick(this.#known) : undefined;
    switch (name) {
      case 'put':
        return await this.put(random, key);
      case 'putKeyless':
        return await this.put(random, undefined);
      case 'putById':
        return await this.#putById(random);
      case 'get':
        return await this.get(this.byKey.get(key)!);
      case 'getRange':
        return await this.#getRange(key, random);
      case 'getById':
        return known && (await this.#getById(known));
      case 'getByAddress':
        return await this.#getByAddress(this.#contents.pick(random));
      case 'remove':
        return await this.remove(this.byKey.get(key)!);
      case 'removeById': {
        const ids = [...this.byId.values()];
        return ids.length > 0 ? await this.remove(random.pick(ids)) : undefined;
      }
      case 'list':
        return await this.list(random.pick(PREFIXES));
    }
  }

  async put(random: SeededRandom, key: string | undefined): Promise<void> {
    const content = this.#contents.pick(random);
    // Without a key nobody can name the object before the answer.
    const register = key === undefined ? new Register('keyless') : this.byKey.get(key)!;
    const write = register.begin(content, this.#now);
    const stream = this.#contents.stream(content, random);
    const peaceBefore = this.#world.peace;
    const isKnownBefore = this.#world.isEverythingKnown;
    const impairmentsBefore = this.#world.impairmentCount;
    const outcome = await this.#call(`put ${key} #${content}`, (objects) =>
      objects.put(stream, { key }),
    );
    if (outcome.kind !== 'done') return this.#notPut(register, write, outcome, peaceBefore);
    const { info, degradedTo } = outcome.value;
    register.done(write, this.#now, degradedTo ?? TOLERANCE);
    if (key === undefined) this.byId.set(info.id, register);
    this.#known.push({ id: info.id, content, register, write });
    this.#contents.learn(info, content);
    if (isKnownBefore) {
      await this.#checkDurable(info, degradedTo ?? TOLERANCE, impairmentsBefore);
    }
  }

  /** The shards of what was just acknowledged are there, also of stripes that were known before. */
  async #checkDurable(
    { id }: ObjectInfo,
    promisedSpare: number,
    impairmentsBefore: number,
  ): Promise<void> {
    const outcome = await this.#call(`where ${id}`, async (objects) => {
      let spareCount = Infinity;
      for await (const place of objects.where(id)) {
        spareCount = Math.min(spareCount, place.spareCount);
      }
      return spareCount;
    });
    if (outcome.kind !== 'done' || outcome.value >= promisedSpare) return;
    if (!this.#world.isEverythingKnown) return;
    // A disk that left meanwhile took its shards along; an object that was removed, all of them.
    if (this.#world.impairmentCount !== impairmentsBefore) return;
    const still = await this.#call(`query ${id}`, (objects) => objects.query(id));
    if (still.kind !== 'done') return;
    throw new Violation(
      `${id} was acknowledged with ${promisedSpare} to spare and has ${outcome.value}`,
    );
  }

  /** Ruling 9, asked when nothing is away: what was promised is there, less what was damaged. */
  async checkPromises(): Promise<void> {
    for (const { id, content, register, write } of this.#known) {
      const possible = register.possible(this.#now, this.#now);
      if (possible.size !== 1 || !possible.has(content) || !register.isUndisturbed(write)) continue;
      const promised = write.spareCount - this.#world.damageSince(write.startMs);
      await this.#checkDurable({ id } as ObjectInfo, promised, this.#world.impairmentCount);
    }
  }

  #notPut(
    register: Register,
    write: Operation,
    outcome: Exclude<Outcome<unknown>, { kind: 'done' }>,
    peaceBefore: number | undefined,
  ): void {
    const isUnknown =
      outcome.kind === 'crashed' || errorCode(outcome.error) === 'HF_UNKNOWN_OUTCOME';
    if (outcome.kind === 'failed') this.#mayFail('put', outcome.error, peaceBefore);
    if (isUnknown) this.#unknown(register, write);
    else if (!register.failed(write)) {
      throw new Violation(`${register.name}: a put that failed was seen`);
    }
  }

  /** What a machine that died has sent may arrive later, until all machines have been restarted. */
  #unknown(register: Register, write: Operation): void {
    if (this.#world.net) this.#undecided.push([register, write]);
    else register.unknown(write, this.#now);
  }

  /** Nothing is on its way any more. */
  settle(): void {
    for (const [register, write] of this.#undecided.splice(0)) register.unknown(write, this.#now);
  }

  /** With all disks sound and no crash nothing may fail. */
  #mayFail(what: string, error: unknown, peaceBefore: number | undefined): void {
    this.failedCount += 1;
    if (peaceBefore === undefined || peaceBefore !== this.#world.peace) return;
    throw new Violation(`${what} fails for no reason: ${textOf(error)}`);
  }

  async #putById(random: SeededRandom): Promise<void> {
    const peaceBefore = this.#world.peace;
    const created = await this.#call('create', (objects) => objects.create());
    if (created.kind === 'failed') return this.#mayFail('create', created.error, peaceBefore);
    if (created.kind !== 'done') return;
    const { id } = created.value;
    const register = new Register(id);
    register.done(register.begin(EMPTY_CONTENT, this.#now), this.#now);
    this.byId.set(id, register);
    const content = this.#contents.pick(random);
    const write = register.begin(content, this.#now);
    const stream = this.#contents.stream(content, random);
    const outcome = await this.#call(`put id ${id} #${content}`, (objects) =>
      objects.put(stream, { id }),
    );
    if (outcome.kind === 'done') {
      return register.done(write, this.#now, outcome.value.degradedTo ?? TOLERANCE);
    }
    // Somebody else may have removed the object meanwhile.
    if (outcome.kind === 'failed' && errorCode(outcome.error) === 'HF_NOT_FOUND') {
      register.failed(write);
      return this.#look(register, ABSENT, write.startMs);
    }
    this.#notPut(register, write, outcome, peaceBefore);
  }

  async get(register: Register): Promise<void> {
    const reference = this.referenceOf(register);
    const startMs = this.#now;
    const peaceBefore = this.#world.peace;
    const outcome = await this.#read(reference);
    if (outcome.kind === 'crashed') return;
    if (outcome.kind === 'done') return this.#look(register, this.#numbered(outcome), startMs);
    const code = errorCode(outcome.error);
    if (code === 'HF_NOT_FOUND') {
      // A reader whose object was replaced under it is told so, and may ask again.
      if (register.possible(startMs, this.#now).size > 1) return;
      return this.#look(register, ABSENT, startMs);
    }
    if (code === 'HF_TOO_FEW_SHARDS') this.#mayLack(register, startMs, outcome.error);
    else this.#mayFail(`get ${register.name}`, outcome.error, peaceBefore);
  }

  async #read(
    reference: string,
    range?: { offset: number; lengthBytes: number },
  ): Promise<Outcome<Uint8Array>> {
    return await this.#call(`get ${reference}`, async (objects) => {
      const { info, bytes } = await objects.get(reference, range ? { range } : {});
      const parts: Uint8Array[] = [];
      for await (const part of bytes) parts.push(new Uint8Array(part));
      const all = concatBytes(...parts);
      if (!range && all.length !== info.sizeBytes) {
        throw new Error(`${reference}: ${all.length} bytes of ${info.sizeBytes}`);
      }
      return all;
    });
  }

  #numbered({ value }: { value: Uint8Array }): number {
    const number = this.#contents.numberOf(value);
    if (number === undefined) throw new Violation(`wrong bytes: ${value.length} never put so`);
    return number;
  }

  #look(register: Register, value: number, startMs: number): void {
    const look = { value, startMs, endMs: this.#now };
    const possible = register.possible(startMs, look.endMs);
    if (register.look(look)) return;
    throw new Violation(
      `${register.name} shows ${nameOf(value)}; possible are ${[...possible].map(nameOf).join()}`,
    );
  }

  /**
   * Content that cannot be read: only while something else was asked of the name, or when more
   * disks are gone than the put promised to bear.
   */
  #mayLack(register: Register, startMs: number, error: unknown): void {
    this.failedCount += 1;
    if (!this.#world.wasSettled(startMs)) return;
    const possible = register.possible(startMs, this.#now);
    if (possible.size > 1) return;
    const [value] = possible;
    const writes = register.writesOf(value!);
    if (writes.length > 1) return;
    const [write] = writes;
    const damage = this.#world.damageSince(write!.startMs);
    if (damage > write!.spareCount) return;
    throw new Violation(
      `${register.name} ${nameOf(value!)} cannot be read with ${damage} disks impaired, ` +
        `${write!.spareCount} promised: ${textOf(error)}`,
    );
  }

  async #getRange(key: string, random: SeededRandom): Promise<void> {
    const register = this.byKey.get(key)!;
    const startMs = this.#now;
    const lengthBytes = 1 + random.below(70_000);
    const offset = random.below(100_000);
    const outcome = await this.#read(key, { offset, lengthBytes });
    if (outcome.kind === 'failed' && errorCode(outcome.error) === 'HF_NOT_FOUND') {
      return this.#look(register, ABSENT, startMs);
    }
    if (outcome.kind !== 'done') return;
    const isRight = [...register.possible(startMs, this.#now)].some((content) => {
      if (content === ABSENT) return false;
      const part = this.#contents.bytesOf(content).subarray(offset, offset + lengthBytes);
      return Buffer.compare(part, outcome.value) === 0;
    });
    if (!isRight) throw new Violation(`${key}: wrong bytes in range ${offset}+${lengthBytes}`);
  }

  async #getById({ id, content, register, write }: Known): Promise<void> {
    const startMs = this.#now;
    const outcome = await this.#read(id);
    if (outcome.kind === 'done' && this.#numbered(outcome) !== content) {
      throw new Violation(`object ${id} shows other content than was put`);
    }
    if (outcome.kind !== 'failed') return;
    const code = errorCode(outcome.error);
    if (code === 'HF_TOO_FEW_SHARDS') this.#mayLack(register, startMs, outcome.error);
    if (code === 'HF_NOT_FOUND' && register.isUndisturbed(write)) {
      throw new Violation(`object ${id} is gone and nobody removed it`);
    }
  }

  async #getByAddress(content: number): Promise<void> {
    const address = this.#contents.addresses.get(content);
    if (address === undefined) return;
    const startMs = this.#now;
    const outcome = await this.#read(address);
    if (outcome.kind === 'done' && this.#numbered(outcome) !== content) {
      throw new Violation(`address ${address} shows other content`);
    }
    if (outcome.kind !== 'failed' || errorCode(outcome.error) !== 'HF_NOT_FOUND') return;
    for (const register of this.registers()) {
      const possible = register.possible(startMs, this.#now);
      if (possible.size > 1 || !possible.has(content)) continue;
      if (register.writesOf(content).length > 1) continue; // it may have changed its inode
      throw new Violation(`address ${address} is not found, but ${register.name} has it`);
    }
  }

  /** Every name that an answered put was given. */
  registers(): Register[] {
    return [...this.byKey.values(), ...this.byId.values()];
  }

  async remove(register: Register): Promise<void> {
    const reference = this.referenceOf(register);
    const peaceBefore = this.#world.peace;
    const write = register.begin(ABSENT, this.#now);
    const outcome = await this.#call(`remove ${reference}`, (objects) => objects.remove(reference));
    if (outcome.kind === 'done') {
      if (outcome.value.sizeBytes < 0) throw new Violation('a size is not negative');
      return register.done(write, this.#now);
    }
    if (outcome.kind === 'failed' && errorCode(outcome.error) === 'HF_NOT_FOUND') {
      // Seen absent, or removed by another while this one looked; either way it is gone now.
      register.failed(write);
      return this.#look(register, ABSENT, write.startMs);
    }
    if (outcome.kind === 'failed') this.#mayFail('remove', outcome.error, peaceBefore);
    this.#unknown(register, write);
  }

  referenceOf(register: Register): string {
    for (const [id, each] of this.byId) if (each === register) return id;
    return register.name;
  }

  async list(prefix: string): Promise<void> {
    const startMs = this.#now;
    const peaceBefore = this.#world.peace;
    const expectedIds = new Set(this.byId.keys());
    const outcome = await this.#call(`list ${prefix}`, async (objects) => {
      const found: ObjectInfo[] = [];
      for await (const info of objects.list(prefix)) found.push(info);
      return found;
    });
    if (outcome.kind === 'failed') this.#mayFail('list', outcome.error, peaceBefore);
    if (outcome.kind !== 'done') return;
    const infos = outcome.value;
    checkOrder(infos.flatMap(({ key }) => (key === undefined ? [] : [key])));
    for (const [key, register] of this.byKey) {
      if (!key.startsWith(prefix)) continue;
      const info = infos.find((each) => each.key === key);
      this.#look(register, info ? this.#contentOf(info) : ABSENT, startMs);
    }
    if (prefix !== '') return;
    for (const id of expectedIds) {
      const info = infos.find((each) => each.id === id);
      this.#look(this.byId.get(id)!, info ? this.#contentOf(info) : ABSENT, startMs);
    }
  }

  #contentOf(info: ObjectInfo): number {
    const register = info.key === undefined ? this.byId.get(info.id) : this.byKey.get(info.key);
    return this.#contents.ofEntry(info, register?.possible(0, this.#now) ?? new Set());
  }

  async #call<Result>(
    what: string,
    work: (objects: Parameters<Parameters<World['call']>[0]>[1]) => Promise<Result>,
  ): Promise<Outcome<Result>> {
    const outcome = await this.#world.call((_, objects) => work(objects));
    const text = outcome.kind === 'failed' ? `failed: ${textOf(outcome.error)}` : outcome.kind;
    this.#world.note(`${what} ${text}`);
    return outcome;
  }

  get #now(): number {
    return this.#world.nowMs;
  }
}
