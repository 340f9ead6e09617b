/** `key split` and `key combine`: a key file or recovery kit as shares that people keep. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { Session } from './session.ts';
import { parseCount } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

interface SplitOptions {
  readonly k: string;
  readonly n: string;
  readonly output?: string;
}

/** Joins the group `key`, which may be there already. */
export function addKeyCommands(verbs: Verbs): void {
  const known = verbs.program.commands.find((command) => command.name() === 'key');
  const group = known ? { ...verbs, program: known } : addGroup(verbs, 'key', 'save the keys');
  addVerb(group, 'split', {
    summary: 'split a key file or recovery kit into n texts, any k of which restore it',
    details:
      'Fewer than k say nothing about it (Shamir). Each text is one line. Without -o they are ' +
      'printed. Whoever gathers k of them has the key.',
    args: { '[file]': 'the key file or kit (default: share-key in the data directory)' },
    options: {
      '-k <count>': 'texts that restore',
      '-n <count>': 'texts in all',
      '-o, --output <prefix>': 'write them to <prefix>-1.txt and so on, readable by you only',
    },
    examples: ['holdfast key split -k 2 -n 3', 'holdfast key split -k 3 -n 5 kit.txt -o kit'],
    action: splitKey,
  });
  addVerb(group, 'combine', {
    summary: 'restore a key file or recovery kit from k of its texts',
    args: { '<files...>': 'files with the lines; - is standard input' },
    options: { '-o, --output <file>': 'the file to make, readable by you only' },
    examples: ['holdfast key combine -o share-key key-1.txt key-3.txt'],
    action: combineKey,
  });
}

async function splitKey(
  session: Session,
  options: SplitOptions,
  name: string | undefined,
): Promise<void> {
  const { k, n, output } = options;
  if (k === undefined || n === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'give -k and -n, such as -k 2 -n 3');
  }
  const { SHARE_KEY_FILE, splitSecret, writeSecretFile } = await import('../shares/index.ts');
  const file =
    name === undefined ? path.join(session.dataPath, SHARE_KEY_FILE) : session.resolve(name);
  const needed = parseCount(k, { min: 1 });
  const shares = splitSecret(await readSecret(file, name === undefined), {
    k: needed,
    n: parseCount(n, { min: 1 }),
    random: realEnv().random,
  });
  if (needed === 1) {
    session.note('holdfast: warning: with -k 1 each text is the whole key: who finds one has it');
  }
  if (output === undefined) {
    session.show({ shares }, () => shares);
    return;
  }
  const paths: string[] = [];
  try {
    for (const [index, share] of shares.entries()) {
      const target = `${session.resolve(output)}-${index + 1}.txt`;
      await writeSecretFile(target, `${share}\n`);
      paths.push(target);
    }
  } catch (error) {
    for (const target of paths) await fs.rm(target, { force: true });
    throw error;
  }
  session.show({ paths }, () => paths.map((target) => session.relative(target)));
}

async function combineKey(
  session: Session,
  { output }: { readonly output?: string },
  names: readonly string[],
): Promise<void> {
  if (output === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'name the file to make with -o');
  }
  const lines: string[] = [];
  const places: string[] = [];
  for (const name of names) {
    const text =
      name === '-'
        ? await readAll(session)
        : (await readSecret(session.resolve(name), false)).toString('latin1');
    for (const [index, line] of text.split('\n').entries()) {
      lines.push(line);
      places.push(index === 0 ? name : `${name}, line ${index + 1}`);
    }
  }
  const { combineSecret, writeSecretFile } = await import('../shares/index.ts');
  const secret = combineSecret(lines, places);
  const target = session.resolve(output);
  await writeSecretFile(target, secret);
  session.show({ path: target }, () => [session.relative(target)]);
}

/** @throws HF_NOT_FOUND, with what helps. */
async function readSecret(file: string, isDefault: boolean): Promise<Buffer> {
  return await fs.readFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause;
    const message = isDefault
      ? `there is no key file ${file} yet: the first split or make writes it; or name a file`
      : `there is no file ${file}`;
    throw new HoldfastError('HF_NOT_FOUND', message, { cause });
  });
}

async function readAll({ io }: Session): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of io.stdin) parts.push(part as Uint8Array);
  return Buffer.concat(parts).toString('latin1');
}
