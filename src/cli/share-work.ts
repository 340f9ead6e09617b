/** What the verbs of share files and of chunk files have in common. */

/** Something is bad or missing, and the file can be restored; or it cannot. */
export const EXIT_DEGRADED = 1;
export const EXIT_LOST = 6;

/** Bytes of a regular file. @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_BAD_ARGUMENT. */
export async function sizeOf(file: string): Promise<number> {
  const { InputFile } = await import('../shares/index.ts');
  await using input = await InputFile.open(file);
  return input.size;
}
