/**
 * The options of a mount, as `-o` and fstab have them: words between commas, of which the last one
 * that says something counts. What makes no difference here is accepted, so that a line of fstab
 * works as it is. Source: mount(8), fstab(5), systemd.mount(5); nolock: nfs(5).
 */
import { HoldfastError } from '../base/index.ts';

export interface MountChoices {
  readonly isReadOnly: boolean;
  readonly allowsOthers: boolean;
  readonly forbidsPrograms: boolean;
  readonly hasLocalLocks: boolean;
}

/** What each word that makes a difference changes. */
const CHANGES: Readonly<Record<string, Partial<MountChoices>>> = {
  ro: { isReadOnly: true },
  rw: { isReadOnly: false },
  allow_other: { allowsOthers: true },
  exec: { forbidsPrograms: false },
  noexec: { forbidsPrograms: true },
  lock: { hasLocalLocks: false },
  nolock: { hasLocalLocks: true },
};

/** Always so, never so, or for those who read fstab. */
const IDLE =
  'defaults nosuid nodev async noatime nodiratime relatime lazytime ' +
  '_netdev auto noauto nofail user nouser users owner group';
const IDLE_WORDS = new Set(IDLE.split(' '));
const IDLE_PREFIX = /^(x-|X-|comment=|user=|uhelper=)/u;

/** @param isSloppy what is unknown is passed over. @throws HF_BAD_ARGUMENT. */
export function mountChoices(text: string, { isSloppy = false } = {}): MountChoices {
  let choices = {
    isReadOnly: false,
    allowsOthers: false,
    forbidsPrograms: false,
    hasLocalLocks: false,
  };
  for (const word of text.split(',').filter((each) => each !== '')) {
    const change = Object.hasOwn(CHANGES, word) ? CHANGES[word] : undefined;
    if (change === undefined && !isSloppy && !IDLE_WORDS.has(word) && !IDLE_PREFIX.test(word)) {
      const known = Object.keys(CHANGES).join(', ');
      throw new HoldfastError('HF_BAD_ARGUMENT', `"${word}" is no option of a mount: ${known}`);
    }
    choices = { ...choices, ...change };
  }
  return choices;
}

/** "rw,allow_other", as it is shown. */
export function choicesText(choices: MountChoices): string {
  return [
    choices.isReadOnly ? 'ro' : 'rw',
    ...(choices.allowsOthers ? ['allow_other'] : []),
    ...(choices.forbidsPrograms ? ['noexec'] : []),
    ...(choices.hasLocalLocks ? ['nolock'] : []),
  ].join(',');
}
