/**
 * One mount being served, in one thread: reads a request, has the file system answer it, sends the
 * reply, until the mount is gone. Serving in the thread that reads is what makes it fast; handing
 * requests to another one costs more than most of them take.
 *
 * 1. The thread sleeps in the kernel only when nothing else can happen in it: no answer is owed,
 *    and nobody asked to stay awake. Otherwise it waits through Node's thread pool, and its event
 *    loop turns. Whoever else has something for this thread sets `wake` and makes a request
 *    (`wake.ts`).
 * 2. Every request gets one reply, but FORGET and INTERRUPT, which get none.
 * 3. What the kernel was told of, and only that, is counted (`lookup-counts.ts`).
 */
import { errorMessage, HoldfastError, LIMITS, UnderWay } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { ERRNO, errnoOf, type Errno } from '../errno.ts';
import type { FileSystem } from '../file-system.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { Reply } from '../protocol/reply.ts';
import { Request, type Slot } from '../protocol/request.ts';
import {
  BATCH_FORGET_IN,
  FORGET_IN,
  FORGET_ONE,
  INTERRUPT_IN,
  OUT_HEADER,
} from '../protocol/structs.ts';
import type { FuseDevice } from './device.ts';
import { LookupCounts } from './lookup-counts.ts';
import { type Agreement, negotiate, type Wishes } from './negotiate.ts';
import { Notifier } from './notifier.ts';
import type { Operation, Work } from './operation.ts';
import { OPERATIONS } from './operations.ts';
import { type Received, type RequestSource, Slots } from './slots.ts';
import { type Patience, Task, Tasks } from './task.ts';
import { takeWake } from './wake.ts';

export interface SessionParts {
  readonly env: Env;
  readonly device: FuseDevice;
  readonly fileSystem: FileSystem;
  readonly wishes: Wishes;
  readonly patience: Patience;
  readonly wake?: Int32Array | undefined;
  /** When another thread reads; then this one never sleeps in the kernel. */
  readonly source?: RequestSource | undefined;
}

export class Session {
  readonly #parts: SessionParts;
  readonly #ownSlots = new Slots();
  readonly #slots: Pick<Slots, 'giveBack' | 'writeOff' | 'isExhausted'>;
  readonly #reply = new Reply(OUT_HEADER.bytes + LIMITS.mountDataBytesMax);
  readonly #lookups = new LookupCounts();
  readonly #tasks: Tasks;
  readonly #underWay = new UnderWay();
  readonly #ready = Promise.withResolvers<Agreement>();
  #agreement: Agreement | undefined;
  /** How many need the event loop; see 1. */
  #awakeCount = 0;
  /** A bug of ours, or a device that fails: the session ends when the next request comes. */
  #fault: { readonly reason: unknown } | undefined;
  /** Those about the session itself. */
  readonly #controls: Readonly<Record<number, (request: Request) => void>> = {
    [OPCODES.init]: (request) => this.#init(request),
    [OPCODES.forget]: (request) => this.#forget(request),
    [OPCODES.batchForget]: (request) => this.#batchForget(request),
    [OPCODES.interrupt]: (request) => this.#interrupt(request),
    [OPCODES.destroy]: (request) => this.#refuse(request.unique, 0),
  };

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#slots = parts.source ?? this.#ownSlots;
    this.#tasks = new Tasks(parts.patience, (task, errno) => this.#giveUp(task, errno));
    this.#ready.promise.catch(() => undefined); // who is interested hears it, too
  }

  /** Resolves when kernel and session have agreed; rejects when that fails. */
  get ready(): Promise<Agreement> {
    return this.#ready.promise;
  }

  /**
   * Serves until the mount is gone and every promised answer has settled, then closes the device.
   * @throws HF_IO when the device fails; HF_UNSUPPORTED when the kernel is too old.
   */
  async run(): Promise<void> {
    const watching = new AbortController();
    const watch = this.#watch(watching.signal);
    try {
      await this.#loop();
    } catch (error) {
      this.#fault ??= { reason: error };
    }
    this.#ready.reject(
      this.#fault?.reason ?? new HoldfastError('HF_CLOSED', 'it went away at once'),
    );
    this.#tasks.abandon();
    watching.abort();
    await watch;
    await this.#parts.device.close();
    await this.#underWay.settled();
    if (this.#fault) throw this.#fault.reason;
  }

  async #loop(): Promise<void> {
    while (!this.#fault) {
      const { slot, length } = await this.#next();
      if (length === 0) return;
      const isNew = !this.#agreement;
      this.#accept(slot, length);
      if (isNew || (this.#parts.wake && takeWake(this.#parts.wake))) await this.#listen();
    }
  }

  #next(): Received | Promise<Received> {
    return this.#parts.source ? this.#parts.source.next() : this.#read();
  }

  async #read(): Promise<Received> {
    const slot = await this.#ownSlots.take();
    return { slot, length: await this.#receive(slot) };
  }

  #receive(slot: Slot): number | Promise<number> {
    const { device } = this.#parts;
    const maySleep = this.#tasks.count === 0 && this.#awakeCount === 0;
    const length = maySleep ? device.receiveNow(slot.buffer) : undefined;
    return length ?? device.receive(slot.buffer);
  }

  /**
   * Lets messages from other threads arrive, which they do between two turns of the event loop, and
   * whoever waits for `ready` hear of it.
   */
  async #listen(): Promise<void> {
    await this.#parts.env.clock.turn();
    await this.#parts.env.clock.turn();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.env;
    for await (const _ of clock.every(LIMITS.mountTickMs, { signal })) {
      this.#tasks.sweep(clock.monotonic(), this.#slots.isExhausted);
    }
  }

  #stayAwake(): Disposable {
    this.#awakeCount += 1;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#awakeCount -= 1;
        isHeld = false;
      },
    };
  }

  // Requests.

  #accept(slot: Slot, length: number): void {
    const request = Request.parse(slot, length);
    if (!request) {
      this.#parts.env.log.warn('a request from the kernel has no sound header', { length });
      return this.#slots.giveBack(slot);
    }
    const control = this.#controls[request.opcode];
    if (!control) return this.#perform(request, slot);
    this.#takeControl(request, control);
    this.#slots.giveBack(slot);
  }

  #takeControl(request: Request, control: (request: Request) => void): void {
    try {
      control(request);
    } catch (error) {
      this.#parts.env.log.warn('a request is refused', { reason: errorMessage(error) });
      // The others get no reply; and without agreement there is nothing to go on with.
      if (request.opcode !== OPCODES.init) return;
      this.#refuse(request.unique, errnoOf(error) ?? ERRNO.EIO);
      this.#fault = { reason: error };
    }
  }

  #init(request: Request): void {
    const { device, fileSystem, wishes } = this.#parts;
    if (this.#agreement) return this.#refuse(request.unique, ERRNO.EPROTO);
    this.#reply.clear();
    const negotiation = negotiate(request, this.#reply, wishes);
    this.#reply.finish(request.unique);
    if (negotiation !== 'again') {
      this.#agreement = negotiation;
      const canExpire = negotiation.flags.has('expireOnly');
      const stayAwake = () => this.#stayAwake();
      fileSystem.begin?.(new Notifier({ device, stayAwake, canExpire }));
      this.#ready.resolve(negotiation);
    }
    this.#send();
  }

  #forget(request: Request): void {
    request.expect(FORGET_IN);
    this.#takeBack(request.inode, request.u64(FORGET_IN.lookupCount));
  }

  #batchForget(request: Request): void {
    request.expect(BATCH_FORGET_IN);
    const count = request.u32(BATCH_FORGET_IN.count);
    for (let index = 0; index < count; index++) {
      const one = request.record(FORGET_ONE);
      this.#takeBack(one.u64(FORGET_ONE.inode), one.u64(FORGET_ONE.lookupCount));
    }
  }

  #takeBack(inode: number, count: number): void {
    if (this.#lookups.takeBack(inode, count)) this.#parts.fileSystem.forget(inode);
  }

  #interrupt(request: Request): void {
    request.expect(INTERRUPT_IN);
    this.#tasks.interrupt(request.u64(INTERRUPT_IN.unique));
  }

  #perform(request: Request, slot: Slot): void {
    const { fileSystem } = this.#parts;
    const agreement = this.#agreement;
    const operation = OPERATIONS[request.opcode];
    if (!agreement || !operation || operation.isOffered?.(fileSystem) === false) {
      this.#refuse(request.unique, agreement ? ERRNO.ENOSYS : ERRNO.EPROTO);
      return this.#slots.giveBack(slot);
    }
    const caller = new Task(request, operation.waits === true);
    const work: Work = { fileSystem, request, caller, agreement };
    try {
      request.expect(operation.struct);
      const answer = operation.perform(work);
      if (answer instanceof Promise) {
        void this.#underWay.run(() => this.#answerLater(answer, { operation, work, slot }));
        return;
      }
      this.#answer(operation, answer, work);
    } catch (error) {
      this.#fail(caller, error);
    }
    this.#slots.giveBack(slot);
  }

  // Answers.

  async #answerLater(
    answer: Promise<unknown>,
    { operation, work, slot }: { operation: Operation; work: Work; slot: Slot },
  ): Promise<void> {
    const task = work.caller;
    this.#tasks.add(task, this.#parts.env.clock.monotonic());
    if (task.waits) this.#slots.giveBack(slot);
    else task.slot = slot;
    try {
      this.#answer(operation, await answer, work);
    } catch (error) {
      this.#fail(task, error);
    } finally {
      this.#tasks.remove(task);
      if (!task.waits) this.#slots.giveBack(slot);
    }
  }

  #answer(operation: Operation, result: unknown, work: Work): void {
    const task = work.caller;
    const reply = this.#reply;
    reply.clear();
    operation.reply?.(reply, result, work);
    reply.finish(task.unique);
    const isDelivered = !task.isAnswered && this.#send();
    task.isAnswered = true;
    if (isDelivered) for (const inode of reply.known) this.#lookups.tell(inode);
    else void this.#underWay.run(() => this.#undo({ operation, result, work }));
  }

  /** The kernel got no answer: it knows of no inode in it, and will not release what it opened. */
  async #undo(undone: { operation: Operation; result: unknown; work: Work }): Promise<void> {
    using _ = this.#stayAwake();
    const untold = [...this.#reply.known];
    try {
      await undone.operation.undo?.(undone.result, undone.work);
      for (const inode of untold) {
        if (!this.#lookups.isKnown(inode)) this.#parts.fileSystem.forget(inode);
      }
    } catch (error) {
      this.#complain(error, 'an answer that nobody got could not be undone');
    }
  }

  /** What it asked goes on; its memory is not waited for. */
  #giveUp(task: Task, errno: Errno): void {
    this.#refuse(task.unique, errno);
    if (task.slot) this.#slots.writeOff(task.slot);
  }

  #fail(task: Task, error: unknown): void {
    const errno = errnoOf(error);
    if (errno === undefined) this.#complain(error, 'an operation of the mount failed');
    if (!task.isAnswered) this.#refuse(task.unique, errno ?? ERRNO.EIO);
    task.isAnswered = true;
  }

  /** Of what is no operating error: an assertion ends the session, see {@link Session.#fault}. */
  #complain(error: unknown, message: string): void {
    this.#parts.env.log.error(message, { reason: errorMessage(error) });
    if (error instanceof Error && error.name === 'AssertionError')
      this.#fault ??= { reason: error };
  }

  #refuse(unique: number, errno: Errno): void {
    this.#reply.fail(unique, errno);
    this.#send();
  }

  /** @returns whether somebody got it. What cannot be sent would leave its caller waiting. */
  #send(): boolean {
    const { buffer, length, tail } = this.#reply;
    try {
      return this.#parts.device.send(buffer, length, tail);
    } catch (error) {
      this.#parts.env.log.error('a reply could not be sent', { reason: errorMessage(error) });
      this.#fault ??= { reason: error };
      return false;
    }
  }
}
