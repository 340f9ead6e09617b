/**
 * Aim: nodes on machines of their own stand what networks do: a rack whose cables are pulled, a
 * partition, another address after a restart; and each knows the others' disks. Method: real
 * processes in network namespaces on a bridge; cables are pulled at the bridge, so that nobody is
 * told. Needs root: without it the tests are skipped, and say so.
 */
import { expect, it } from 'vitest';
import { errorCode } from '../../src/base/index.ts';
import { attachLoop, loopObstacle } from '../suites/loop-device.ts';
import { describeWithNamespaces, LocalNetwork } from '../suites/network-namespaces.ts';
import { checkBooks, checkRacks, healed, putBooks } from './drill-nodes.ts';
import { Bed, until } from './harness.ts';
import { LoopbackCluster, type MemberPlan } from './loopback-cluster.ts';
import { makeFilesystem, ownDisks, plugIn, pullOut } from './namespace-disks.ts';

const PORT = 7450;
const noLoop = loopObstacle();
const withoutLoop = noLoop === undefined ? '' : ` (SKIPPED: ${noLoop})`;

function addressOf(number: number): string {
  return `10.77.0.${number}`;
}

function listenOn(address: string): string[] {
  return ['--listen', `tls://${address}:${PORT}`];
}

/** Machines n1, n2, … with a node each. */
function plansOn(
  network: LocalNetwork,
  { count, flagsOf = () => [] }: { count: number; flagsOf?: (index: number) => readonly string[] },
): MemberPlan[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `n${i + 1}`;
    const address = addressOf(i + 1);
    network.add(name, address);
    return {
      name,
      namespace: network.namespace(name),
      listen: [`tls://${address}:${PORT}`],
      flags: flagsOf(i),
    };
  });
}

describeWithNamespaces('nodes on machines of their own', () => {
  it('read on without any one rack, and put again when it is back', async () => {
    await using bed = await Bed.open();
    using network = LocalNetwork.open();
    const plans = plansOn(network, { count: 6, flagsOf: (i) => ['--rack', `r${(i % 3) + 1}`] });
    await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'rs-4+2' });
    await checkRacks(cluster, {
      bookCount: 8,
      asksForRepair: true,
      racks: [['n2', 'n5']],
      switchOff: async (names) => names.forEach((name) => network.pull(name)),
      switchOn: async (names) => names.forEach((name) => network.plug(name)),
    });
  });

  it('go on on the side of the home, say so on the other, and meet again', async () => {
    await using bed = await Bed.open();
    using network = LocalNetwork.open();
    const plans = plansOn(network, { count: 4 });
    await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'copy-2' });
    const books = await putBooks(cluster, { label: 'both', count: 6, through: cluster.running });
    network.pull('n4');
    const rest = ['n1', 'n2', 'n3'];
    await checkBooks(cluster, books, rest);
    const alone = async (label: string): Promise<string | undefined> =>
      await putBooks(cluster, { label, count: 1, through: ['n4'] }).then(() => 'stored', errorCode);
    // What is under way when the cable goes may have arrived, for all that the node knows.
    expect(await alone('first')).toMatch(/^HF_(UNAVAILABLE|UNKNOWN_OUTCOME)$/);
    expect(await alone('second')).toBe('HF_UNAVAILABLE');
    const more = await putBooks(cluster, { label: 'more', count: 4, through: rest });
    const [gone, ...kept] = books;
    await cluster.client('n2').call('object.remove', { reference: gone!.id });
    network.plug('n4');
    await cluster.settle();
    // Who was not heard of is asked again a moment later.
    await until('n4 reads what the others have', async () => {
      return await checkBooks(cluster, [...kept, ...more], ['n4']).then(
        () => true,
        () => false,
      );
    });
    await healed(cluster, { asksForRepair: true });
    expect((await cluster.client('n4').call('object.list', {})).count).toBe(9);
    const after = await putBooks(cluster, { label: 'after', count: 2, through: ['n4'] });
    await checkBooks(cluster, after, ['n1']);
  });

  it('find each other by beacon when nobody has the address that was remembered', async () => {
    await using bed = await Bed.open();
    using network = LocalNetwork.open();
    const plans = plansOn(network, { count: 2 });
    await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'copy-2' });
    const books = await putBooks(cluster, { label: 'books', count: 2, through: ['n1', 'n2'] });
    for (const [i, name] of ['n1', 'n2'].entries()) {
      await cluster.kill(name);
      network.setAddress(name, addressOf(100 + i));
    }
    await cluster.restart('n1', listenOn(addressOf(100)));
    await cluster.restart('n2', listenOn(addressOf(101)));
    await cluster.settle();
    await until('n2 has its home', async () => {
      return await checkBooks(cluster, books, ['n2']).then(
        () => true,
        () => false,
      );
    });
  });

  it.skipIf(noLoop !== undefined)(`tell each other where a disk is${withoutLoop}`, async () => {
    await using bed = await Bed.open();
    await using loop = await attachLoop({ sizeBytes: 20 << 20 });
    using network = LocalNetwork.open();
    const plans = plansOn(network, { count: 3 });
    await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'copy-2' });
    const names = ['n1', 'n2', 'n3'];
    const processIds = await Promise.all(
      names.map(async (name) => (await cluster.client(name).call('status', {})).processId),
    );
    using _ = ownDisks(processIds);
    const disk = { loop, label: 'HF-BOOKS', mountPoint: bed.path('books') };
    makeFilesystem(disk);
    const where = (name: string) => bed.run(['disks', 'where', disk.label], { data: name });
    expect((await where('n1')).exitCode).toBe(3);
    plugIn(processIds[1]!, disk);
    for (const name of names) {
      await until(`${name} knows where it is`, async () => {
        return (await where(name)).stdout.toString().includes(disk.mountPoint);
      });
      expect((await where(name)).stdout.toString()).toMatch(/^n2 \(.*disk HF-BOOKS/);
    }
    pullOut(processIds[1]!, disk);
    for (const name of names) {
      await until(`${name} knows that it is gone`, async () => (await where(name)).exitCode === 3);
    }
  });
});
