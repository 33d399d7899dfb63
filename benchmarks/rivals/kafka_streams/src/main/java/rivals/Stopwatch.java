package rivals;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KafkaClientSupplier;

/**
 * The time from the first record to the commit of the last.
 *
 * Kafka Streams does not tell when it has committed: it gets its usual clients here, and the producer notes the time.
 * Only the one stream thread counts and commits.
 */
final class Stopwatch implements KafkaClientSupplier {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final CountDownLatch committed = new CountDownLatch(1);
    private final long total;
    private long counted;
    private long began;
    private long cpu;
    private double seconds;
    private double cpuSeconds;

    Stopwatch(long total) {
        this.total = total;
    }

    /** Counts a record, and returns whether it is the last. */
    boolean isLast() {
        if (counted == 0) {
            began = System.nanoTime();
            cpu = SYSTEM.getProcessCpuTime();
        }
        return ++counted == total;
    }

    /** Waits for the commit of the last record. */
    void await() throws InterruptedException {
        committed.await();
    }

    /** Seconds and CPU seconds, once all is committed. */
    @Override
    public String toString() {
        return seconds + " " + cpuSeconds;
    }

    @Override
    public Producer<byte[], byte[]> getProducer(Map<String, Object> config) {
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer()) {
            @Override
            public void commitTransaction() {
                super.commitTransaction();
                if (counted == total) {
                    seconds = (System.nanoTime() - began) / 1e9;
                    cpuSeconds = (SYSTEM.getProcessCpuTime() - cpu) / 1e9;
                    committed.countDown();
                }
            }
        };
    }

    @Override
    public Admin getAdmin(Map<String, Object> config) {
        return Admin.create(config);
    }

    @Override
    public Consumer<byte[], byte[]> getConsumer(Map<String, Object> config) {
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    @Override
    public Consumer<byte[], byte[]> getRestoreConsumer(Map<String, Object> config) {
        return getConsumer(config);
    }

    @Override
    public Consumer<byte[], byte[]> getGlobalConsumer(Map<String, Object> config) {
        return getConsumer(config);
    }
}
