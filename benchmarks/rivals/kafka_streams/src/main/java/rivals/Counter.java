package rivals;

import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** A record in, the count of its stream's records out. What is in the record is not read. */
final class Counter implements Processor<String, byte[], String, String> {
    static final String STORE = "counts";

    private final Stopwatch watch;
    private ProcessorContext<String, String> context;
    private KeyValueStore<String, Long> counts;

    Counter(Stopwatch watch) {
        this.watch = watch;
    }

    @Override
    public void init(ProcessorContext<String, String> context) {
        this.context = context;
        counts = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        boolean last = watch.isLast();
        String stream = record.key();
        Long before = counts.get(stream);
        long count = before == null ? 1 : before + 1;
        counts.put(stream, count);
        context.forward(record.withValue("{\"stream\":\"" + stream + "\",\"count\":" + count + "}"));
        if (last) {
            context.commit();
        }
    }
}
