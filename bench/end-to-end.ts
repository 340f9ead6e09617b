/**
 * Whole programs against a running node: `put` of 1 GiB beside `cp` and `sync` of the same file,
 * `get` to /dev/null beside `cat`, both with cold caches. What `put` wrote bears the loss of two
 * stores.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { GiB } from '../src/base/index.ts';
import { stamp, writeRandom } from './content-file.ts';
import { BenchDaemon, dropCaches } from './daemon.ts';
import { type Bench, interleave, seconds, timeRow } from './harness.ts';

const TURNS = 5;
const PUT_NAME = 'put 1 GiB, rs-4+2, durable, cold';
const GET_NAME = 'get 1 GiB to /dev/null, cold';

export const bench: Bench = async () => {
  await using daemon = await BenchDaemon.start();
  const file = path.join(daemon.dataPath, 'content');
  writeRandom(file, GiB);
  const copy = `${file}.copy`;
  let id = '';
  const figures = await interleave(
    {
      put: async () => {
        // Fresh content each time: what is stored already would not travel.
        stamp(file);
        dropCaches();
        return await seconds(() => (id = daemon.run('put', file)));
      },
      copy: async () => {
        dropCaches();
        const time = await seconds(() => {
          execFileSync('cp', [file, copy]);
          execFileSync('sync', [copy]);
        });
        fs.rmSync(copy);
        return time;
      },
      get: async () => {
        dropCaches();
        const time = await seconds(() => daemon.run('get', id, '-o', '/dev/null', '--force'));
        daemon.run('rm', id);
        return time;
      },
      cat: async () => {
        dropCaches();
        return await seconds(() => execFileSync('sh', ['-c', `cat "${file}" > /dev/null`]));
      },
    },
    { turns: TURNS },
  );
  const { put, copy: copied, get, cat } = figures;
  const row = { unit: 's' };
  return [
    timeRow({ ...row, name: PUT_NAME, value: put, peer: 'cp + sync', peerValue: copied }),
    timeRow({ ...row, name: GET_NAME, value: get, peer: 'cat', peerValue: cat }),
  ];
};
