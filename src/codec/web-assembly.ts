/**
 * The part of the WebAssembly interface that Holdfast uses, for the compiler only: it comes with
 * the library of browsers, which this project leaves out, and Node's types lack it.
 * Source: https://webassembly.github.io/threads/js-api/
 */
declare global {
  namespace WebAssembly {
    interface MemoryDescriptor {
      /** Pages of 64 KiB. */
      initial: number;
      maximum?: number;
      shared?: boolean;
    }
    class Memory {
      constructor(descriptor: MemoryDescriptor);
      readonly buffer: ArrayBuffer | SharedArrayBuffer;
    }
    class Module {
      constructor(bytes: Uint8Array);
    }
    class Instance {
      constructor(module: Module, imports: Record<string, Record<string, Memory>>);
      readonly exports: Record<string, unknown>;
    }
    function validate(bytes: Uint8Array): boolean;
  }
}

export {};
