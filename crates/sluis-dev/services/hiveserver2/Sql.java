import java.sql.*;
import java.util.*;

/** Gives statements to a JDBC server, one an argument or one a line, and prints rows with tabs. */
public class Sql {
    public static void main(String[] arguments) throws Exception {
        List<String> statements = new ArrayList<>(Arrays.asList(arguments).subList(1, arguments.length));
        try (Connection connection = DriverManager.getConnection(arguments[0], "{{ user }}", "dev"); Statement statement = connection.createStatement()) {
            if (!statements.isEmpty()) {
                for (String text : statements) run(statement, text);
                return;
            }
            Scanner lines = new Scanner(System.in);
            while (lines.hasNextLine()) {
                String text = lines.nextLine().strip();
                try {
                    if (!text.isEmpty()) run(statement, text);
                } catch (SQLException e) {
                    System.err.println(e.getMessage());
                }
            }
        }
    }

    static void run(Statement statement, String text) throws SQLException {
        if (!statement.execute(text.endsWith(";") ? text.substring(0, text.length() - 1) : text)) return;
        try (ResultSet rows = statement.getResultSet()) {
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                StringJoiner line = new StringJoiner("\t");
                for (int i = 1; i <= columns; i++) line.add(String.valueOf(rows.getObject(i)));
                System.out.println(line);
            }
        }
    }
}
