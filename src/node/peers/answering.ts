/** Something around the handlers of some methods of a network, as those who register see it. */
import type { Network } from '../../net/index.ts';

type Handling = Pick<Network, 'handle'>;

/** The same network; what is asked by one of `methods` is answered within `around`. */
export function answeringWithin(
  network: Handling,
  methods: readonly string[],
  around: (answer: () => Promise<unknown>) => Promise<unknown>,
): Handling {
  return {
    handle: (method, options, handler) => {
      if (!methods.includes(method)) return network.handle(method, options, handler);
      network.handle(method, options, (arg, context) =>
        around(async () => await handler(arg, context)),
      );
    },
  };
}
