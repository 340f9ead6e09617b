/**
 * Aim: each way in which a call fails is told apart: surely nothing was done, or it is in doubt;
 * and the next call asks another member. Method: HTTP/2 servers in this process that answer as bad
 * members do, over connections that are no sockets of ours.
 */
import * as http2 from 'node:http2';
import { duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { errorCode, utf8 } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { type DialEtcd, EtcdConnection } from './index.ts';

const QUESTION = { conditions: [], ifMet: [], ifNot: [] };
/** A message that says `areMet`. */
const YES = Buffer.from([0, 0, 0, 0, 2, 0x10, 1]);
const { clock } = realEnv();
const DEAD: DialEtcd = () => Promise.reject(new Error('ECONNREFUSED'));
const HUNG: DialEtcd = () => new Promise(() => {});

type Answer = (stream: http2.ServerHttp2Stream) => void;

function member(answer: Answer): DialEtcd {
  const server = http2.createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {}); // the client broke off
    answer(stream);
  });
  return async () => {
    const [ours, theirs] = duplexPair();
    server.emit('connection', theirs);
    return ours;
  };
}

/** A refusal has no message, and its trailers come at once. */
function refuses(status: number, message = ''): Answer {
  return (stream) => {
    const trailers = { 'grpc-status': status, 'grpc-message': encodeURIComponent(message) };
    stream.respond({ ':status': 200, ...trailers }, { endStream: true });
  };
}

function answers(...pieces: readonly Buffer[]): Answer {
  return (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }));
    for (const piece of pieces) stream.write(piece);
    stream.end();
  };
}

async function codeFrom(...members: readonly DialEtcd[]): Promise<unknown> {
  await using connection = new EtcdConnection({ members, clock, deadlineMs: 200 });
  return await connection.transact(QUESTION).then(({ areMet }) => areMet, errorCode);
}

describe('a call', () => {
  it('is answered, in pieces too', async () => {
    expect(await codeFrom(member(answers(YES)))).toBe(true);
    expect(await codeFrom(member(answers(YES.subarray(0, 3), YES.subarray(3))))).toBe(true);
  });

  it('surely did nothing: no connection, or refused before it was proposed', async () => {
    expect(await codeFrom(DEAD)).toBe('HF_UNAVAILABLE');
    expect(await codeFrom(HUNG)).toBe('HF_UNAVAILABLE');
    expect(await codeFrom(member(refuses(14, 'etcdserver: no leader')))).toBe('HF_UNAVAILABLE');
    const full = refuses(8, 'etcdserver: mvcc: database space exceeded');
    expect(await codeFrom(member(full))).toBe('HF_NO_SPACE');
    const past = refuses(11, 'etcdserver: mvcc: required revision has been compacted');
    expect(await codeFrom(member(past))).toBe('HF_NOT_FOUND');
  });

  it('is in doubt: no answer, half an answer, broken off, a leader that went', async () => {
    const doubts: readonly Answer[] = [
      () => {},
      answers(YES.subarray(0, 6)),
      answers(),
      (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
      (stream) => stream.session!.destroy(),
      refuses(14, 'etcdserver: leader changed'),
      refuses(14, 'etcdserver: request timed out'),
    ];
    for (const answer of doubts) expect(await codeFrom(member(answer))).toBe('HF_UNKNOWN_OUTCOME');
  });

  it('is in doubt: nonsense, an answer without end, a connection that closes', async () => {
    const nonsense = Buffer.from([0, 0, 0, 0, 2, 0x1a, 9]);
    const compressed = Buffer.from(YES);
    compressed[0] = 1;
    const endless = Buffer.alloc(5);
    endless.writeUInt32BE(2 ** 32 - 1, 1);
    const floods: Answer = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write(endless);
      const block = Buffer.alloc(1024 * 1024);
      const more = (): void => void (stream.destroyed || stream.write(block, more));
      more();
    };
    const doubts: readonly Answer[] = [
      answers(nonsense),
      answers(compressed),
      floods,
      (stream) => stream.respond({ ':status': 503 }, { endStream: true }),
      (stream) => stream.respond({ ':status': 200, 'grpc-status': 'x' }, { endStream: true }),
      (stream) => {
        stream.session!.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 0);
      },
    ];
    for (const answer of doubts) expect(await codeFrom(member(answer))).toBe('HF_UNKNOWN_OUTCOME');
  });

  it('is refused in words that cannot be read', async () => {
    const full: Answer = (stream) => {
      const trailers = { 'grpc-status': 8, 'grpc-message': 'etcdserver: %zz% no space' };
      stream.respond({ ':status': 200, ...trailers }, { endStream: true });
    };
    expect(await codeFrom(member(full))).toBe('HF_NO_SPACE');
  });

  it('goes over another connection once a member has said that it goes away', async () => {
    let count = 0;
    const going = member((stream) => {
      answers(YES)(stream);
      if (count++ === 0) stream.session!.goaway();
    });
    await using connection = new EtcdConnection({ members: [going], clock });
    for (let round = 0; round < 3; round++) {
      const outcome = await connection.transact(QUESTION).then(({ areMet }) => areMet, errorCode);
      // What was sent before it was heard of is in doubt, what is sent later is not done.
      expect([true, 'HF_UNAVAILABLE', 'HF_UNKNOWN_OUTCOME']).toContain(outcome);
    }
    expect((await connection.transact(QUESTION)).areMet).toBe(true);
  });

  it('goes to the next member when nothing was done, and stays there', async () => {
    const asked: string[] = [];
    const named = (name: string, answer: Answer): DialEtcd =>
      member((stream) => {
        asked.push(name);
        answer(stream);
      });
    const leaderless = named('b', refuses(14, 'etcdserver: no leader'));
    const members = [DEAD, leaderless, named('c', answers(YES)), named('d', answers(YES))];
    await using connection = new EtcdConnection({ members, clock });
    for (let round = 0; round < 2; round++) {
      expect((await connection.transact(QUESTION)).areMet).toBe(true);
    }
    expect(asked).toEqual(['b', 'c', 'c']);
  });

  it('asks the next member only with the next call when it is in doubt', async () => {
    const hanging = member(() => {});
    const members = [hanging, member(answers(YES))];
    await using connection = new EtcdConnection({ members, clock, deadlineMs: 50 });
    expect(await connection.transact(QUESTION).catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    expect((await connection.transact(QUESTION)).areMet).toBe(true);
  });

  it('passes over a member that hangs while it is dialled', async () => {
    const members = [HUNG, member(answers(YES))];
    await using connection = new EtcdConnection({ members, clock });
    expect((await connection.transact(QUESTION)).areMet).toBe(true);
  });

  it('asks other members when it is told of them', async () => {
    const first = member(answers(YES));
    await using connection = new EtcdConnection({ members: [first, DEAD], clock });
    await connection.transact(QUESTION);
    connection.setMembers([DEAD]);
    expect(await connection.transact(QUESTION).catch(errorCode)).toBe('HF_UNAVAILABLE');
    connection.setMembers([DEAD, first]);
    expect((await connection.transact(QUESTION)).areMet).toBe(true);
  });

  it('dials again after a connection broke, and not once it is closed', async () => {
    let isBad = true;
    const flaky = member((stream) => (isBad ? stream.session!.destroy() : answers(YES)(stream)));
    const connection = new EtcdConnection({ members: [flaky], clock });
    expect(await connection.transact(QUESTION).catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    isBad = false;
    expect((await connection.transact(QUESTION)).areMet).toBe(true);
    await connection[Symbol.asyncDispose]();
    expect(await connection.transact(QUESTION).catch(errorCode)).toBe('HF_CLOSED');
  });
});

describe('a watch', () => {
  const range = { key: utf8('k') };

  it('ends when a member says nonsense, or more than there can be', async () => {
    const nonsense = member((stream) => {
      stream.respond({ ':status': 200 });
      stream.write(Buffer.from([0, 0, 0, 0, 1, 0x5a]));
    });
    await using broken = new EtcdConnection({ members: [nonsense], clock });
    await broken.change(range, 1, new AbortController().signal);
    const long = Buffer.alloc(5);
    long.writeUInt32BE(2 ** 32 - 1, 1);
    let sentBytes = 0;
    const flooding = member((stream) => {
      stream.respond({ ':status': 200 });
      stream.write(long);
      const block = Buffer.alloc(1024 * 1024);
      const more = (): void => {
        sentBytes += block.length;
        if (!stream.destroyed) stream.write(block, more);
      };
      more();
    });
    await using connection = new EtcdConnection({ members: [flooding], clock });
    const late = AbortSignal.timeout(3000);
    await connection.change(range, 1, late);
    expect(late.aborted).toBe(false);
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
  });

  it('says that there is news, or that it ended, or stops', async () => {
    const created = Buffer.from([0, 0, 0, 0, 2, 0x18, 1]);
    const event = Buffer.from([0, 0, 0, 0, 2, 0x5a, 0]);
    const writes = (...pieces: Buffer[]): DialEtcd =>
      member((stream) => {
        stream.respond({ ':status': 200 });
        for (const piece of pieces) stream.write(piece);
      });
    const never = new AbortController();
    const told = new EtcdConnection({ members: [writes(created, event)], clock });
    await told.change(range, 1, never.signal);
    const ended = new EtcdConnection({ members: [member(refuses(14))], clock });
    await ended.change(range, 1, never.signal);
    const quiet = new EtcdConnection({ members: [writes(created)], clock });
    const watching = quiet.change(range, 1, never.signal);
    never.abort();
    await watching;
    const hung = new EtcdConnection({ members: [HUNG], clock });
    await hung.change(range, 1, AbortSignal.timeout(20));
    for (const each of [told, ended, quiet, hung]) await each[Symbol.asyncDispose]();
  });
});
